//! Compiles the patterns of a taxonomy.

use regex::{Regex, RegexBuilder};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::literal::Extractor;
use regex_syntax::hir::{Capture, Class, ClassUnicodeRange, Hir, HirKind, Repetition};

use super::definition::Pattern;
use super::limits::Limits;

/// A pattern with at most this many different matches counts as a list of literals.
const MAX_LITERALS: usize = 64;

/// Size limits that the compiler tries, in bytes. A pattern costs the first one that it fits in.
const SIZE_STEPS: [usize; 6] = [64 << 10, 512 << 10, 1 << 20, 2 << 20, 4 << 20, usize::MAX];

/// The memory that patterns of one taxonomy may still use.
pub(super) struct CompileBudget {
    remaining_bytes: usize,
    /// Bytes that the compiler may still fill, including failed attempts, because they take as much time.
    remaining_work: usize,
}

impl CompileBudget {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            remaining_bytes: limits.patterns_memory,
            remaining_work: limits.patterns_memory.saturating_mul(2),
        }
    }

    fn build(&mut self, source: &str, limits: &Limits) -> Result<Regex, String> {
        for size in SIZE_STEPS {
            let size = size.min(limits.pattern_memory);
            let Some(work) = self.remaining_work.checked_sub(size) else {
                return Err("was not compiled: the preceding patterns are too large together".to_owned());
            };
            self.remaining_work = work;
            match build_regex(source, size, limits) {
                Ok(_) if size > self.remaining_bytes => {
                    return Err(format!(
                        "exceeds the limit of {} bytes for all compiled patterns; shorten some of them",
                        limits.patterns_memory
                    ));
                }
                Ok(regex) => {
                    self.remaining_bytes -= size;
                    return Ok(regex);
                }
                Err(regex::Error::CompiledTooBig(_)) if size < limits.pattern_memory => {}
                Err(error) => return Err(explain_error(&error, limits)),
            }
        }
        Err(explain_error(&regex::Error::CompiledTooBig(limits.pattern_memory), limits))
    }
}

/// Compiles a pattern. The error is a message for the author of the taxonomy.
pub(super) fn compile_pattern(
    source: &str,
    limits: &Limits,
    budget: &mut CompileBudget,
) -> Result<Pattern, String> {
    let regex = budget.build(source, limits)?;
    let groups = regex.captures_len() - 1;
    if groups > 1 {
        return Err(format!(
            "has {groups} groups, but only one group can hold the value; write the others as (?:…)"
        ));
    }
    let hir = ParserBuilder::new().nest_limit(limits.pattern_nesting).build().parse(source);
    let hir = hir.map_err(|_| "is not a valid regular expression".to_owned())?;
    let relaxed_hir = relax_gaps(hir.clone());
    let relaxed =
        if relaxed_hir == hir { None } else { Some(budget.build(&relaxed_hir.to_string(), limits)?) };
    Ok(Pattern { regex, relaxed, grouped: groups == 1, literal: is_literal(&hir) })
}

fn build_regex(source: &str, size: usize, limits: &Limits) -> Result<Regex, regex::Error> {
    RegexBuilder::new(source).size_limit(size).dfa_size_limit(size).nest_limit(limits.pattern_nesting).build()
}

/// Replaces counted repetitions of white space, such as `\s{10,40}`, by two or more, to match a column gap of any
/// width.
fn relax_gaps(hir: Hir) -> Hir {
    match hir.into_kind() {
        HirKind::Repetition(repetition) => {
            let gap = repetition.min >= 2 && is_whitespace_class(&repetition.sub);
            let (min, max) = if gap { (2, None) } else { (repetition.min, repetition.max) };
            let sub = Box::new(relax_gaps(*repetition.sub));
            Hir::repetition(Repetition { min, max, greedy: repetition.greedy, sub })
        }
        HirKind::Capture(capture) => {
            Hir::capture(Capture { sub: Box::new(relax_gaps(*capture.sub)), ..capture })
        }
        HirKind::Concat(parts) => Hir::concat(parts.into_iter().map(relax_gaps).collect()),
        HirKind::Alternation(parts) => Hir::alternation(parts.into_iter().map(relax_gaps).collect()),
        HirKind::Empty => Hir::empty(),
        HirKind::Literal(literal) => Hir::literal(literal.0),
        HirKind::Class(class) => Hir::class(class),
        HirKind::Look(look) => Hir::look(look),
    }
}

/// Whether the expression matches one character of white space, including the space.
fn is_whitespace_class(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Literal(literal) => *literal.0 == *b" ",
        HirKind::Class(Class::Unicode(class)) => {
            let spaces = |range: &ClassUnicodeRange| (range.start()..=range.end()).all(char::is_whitespace);
            !class.ranges().is_empty() && class.ranges().iter().all(spaces)
        }
        _ => false,
    }
}

/// Describes an error in one line; the parser's own message draws the pattern over several.
fn explain_error(error: &regex::Error, limits: &Limits) -> String {
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

/// Whether the pattern matches only a few fixed texts.
fn is_literal(hir: &Hir) -> bool {
    let mut extractor = Extractor::new();
    extractor.limit_total(MAX_LITERALS);
    let texts = extractor.extract(hir);
    texts.is_exact() && texts.min_literal_len().is_some_and(|shortest| shortest >= 1)
}
