//! Compiles the patterns of a taxonomy and finds out what they say.

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Capture, Class, ClassUnicodeRange, Hir, HirKind, Repetition};

use super::{Limits, Pattern};

/// A pattern that matches at most this many different texts counts as a list of literals.
const LITERALS: usize = 64;

/// Sizes that a compiled pattern is tried with, in bytes: it is charged the first that it fits in.
const SIZES: [usize; 6] = [64 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20, usize::MAX];

/// What compiled patterns of one taxonomy may still take.
pub(super) struct Budget {
    left: usize,
    /// Bytes that compiling may still fill, patterns that turn out to be too large counted: it takes time as they do.
    work: usize,
}

impl Budget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self { left: limits.patterns_memory, work: limits.patterns_memory.saturating_mul(2) }
    }

    fn build(&mut self, source: &str, limits: &Limits) -> Result<Regex, String> {
        for size in SIZES {
            let size = size.min(limits.pattern_memory);
            let Some(work) = self.work.checked_sub(size) else {
                return Err("was not looked at: the patterns before it are too large together".to_owned());
            };
            self.work = work;
            match build(source, size, limits) {
                Ok(_) if size > self.left => {
                    return Err(format!(
                        "makes all patterns take more than {} bytes when compiled; shorten some of them",
                        limits.patterns_memory
                    ));
                }
                Ok(regex) => {
                    self.left -= size;
                    return Ok(regex);
                }
                Err(regex::Error::CompiledTooBig(_)) if size < limits.pattern_memory => {}
                Err(error) => return Err(explain(&error, limits)),
            }
        }
        Err(explain(&regex::Error::CompiledTooBig(limits.pattern_memory), limits))
    }
}

/// Compiles a pattern; the error is a sentence for its author.
pub(super) fn compile(source: &str, limits: &Limits, budget: &mut Budget) -> Result<Pattern, String> {
    let regex = budget.build(source, limits)?;
    let groups = regex.captures_len() - 1;
    if groups > 1 {
        return Err(format!(
            "has {groups} groups, but one group at most can hold the value; write the others as (?:…)"
        ));
    }
    let hir = ParserBuilder::new().nest_limit(limits.pattern_nesting).build().parse(source);
    let hir = hir.map_err(|_| "is not a valid regular expression".to_owned())?;
    let loose = relax(hir.clone());
    let relaxed = if loose == hir { None } else { Some(budget.build(&loose.to_string(), limits)?) };
    Ok(Pattern { regex, relaxed, grouped: groups == 1, literal: is_literal(&hir) })
}

fn build(source: &str, size: usize, limits: &Limits) -> Result<Regex, regex::Error> {
    RegexBuilder::new(source).size_limit(size).dfa_size_limit(size).nest_limit(limits.pattern_nesting).build()
}

/// Replaces counted repetitions of white space, as in `\s{10,40}`, by two or more: a gap between columns of any width.
fn relax(hir: Hir) -> Hir {
    match hir.into_kind() {
        HirKind::Repetition(repetition) => {
            let gap = repetition.min >= 2 && is_space(&repetition.sub);
            let (min, max) = if gap { (2, None) } else { (repetition.min, repetition.max) };
            let sub = Box::new(relax(*repetition.sub));
            Hir::repetition(Repetition { min, max, greedy: repetition.greedy, sub })
        }
        HirKind::Capture(capture) => Hir::capture(Capture { sub: Box::new(relax(*capture.sub)), ..capture }),
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(relax).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.into_iter().map(relax).collect()),
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(look),
    }
}

/// Whether it matches one character of white space, the space among them.
fn is_space(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Literal(literal) => *literal.0 == *b" ",
        HirKind::Class(Class::Unicode(class)) => {
            let spaces = |range: &ClassUnicodeRange| (range.start()..=range.end()).all(char::is_whitespace);
            !class.ranges().is_empty() && class.ranges().iter().all(spaces)
        }
        _ => false,
    }
}

/// Says what is wrong in one line: the parser draws the pattern over several.
fn explain(error: &regex::Error, limits: &Limits) -> String {
    match error {
        regex::Error::CompiledTooBig(_) => format!(
            "takes more than {} bytes when compiled; shorten it or lower its repetition counts",
            limits.pattern_memory
        ),
        other => {
            let text = other.to_string();
            let reason = text.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
            format!("is not a valid regular expression: {reason}")
        }
    }
}

/// Whether the pattern matches only a handful of fixed texts.
fn is_literal(hir: &Hir) -> bool {
    let mut extractor = Extractor::new();
    extractor.limit_total(LITERALS);
    let texts = extractor.extract(hir);
    texts.is_exact() && texts.min_literal_len().is_some_and(|shortest| shortest >= 1)
}
