//! Writes the XML output of a job, which follows `schema/output.xsd`.
//!
//! The names of data points are attribute values, so one schema covers every taxonomy.
//! `//dataPoint[@name='invoice.number']/normalized` finds a value, whatever characters its name has.

use std::borrow::Cow;

use quick_xml::Writer;
use quick_xml::events::{BytesDecl, BytesEnd, BytesStart, BytesText, Event};

use crate::document::BBox;
use crate::keywords::{Keyword, Keywords};
use crate::mapping::{Finding, Mapping};
use crate::taxonomy::Kind;

/// The namespace of every element.
pub(crate) const NAMESPACE: &str = "urn:docket:output:1";

/// The XML Schema (1.0) of every output.
#[cfg(test)]
const XSD: &str = include_str!("../schema/output.xsd");

/// The document and the taxonomy of an output. Unknown facts are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Source {
    /// Name of the input document.
    pub(crate) document: Option<String>,
    /// SHA-256 of the input document, 64 hexadecimal digits in lower case.
    pub(crate) sha256: Option<String>,
    /// Identifier of the job.
    pub(crate) job: Option<String>,
    /// Name of the taxonomy.
    pub(crate) taxonomy: Option<String>,
    /// Version of the taxonomy.
    pub(crate) taxonomy_version: Option<String>,
    /// Time of the output, as RFC 3339.
    pub(crate) created_at: Option<String>,
}

/// The content of an output.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Body<'b> {
    /// The values of `data-point-extraction`.
    Mapping(&'b Mapping),
    /// The keywords of `indexing`.
    Keywords(&'b Keywords),
}

/// Writes the output as UTF-8. Characters that XML 1.0 does not allow become U+FFFD.
///
/// # Errors
/// None in practice, because the output is written to memory.
pub(crate) fn write_output(body: Body<'_>, source: &Source) -> std::io::Result<Vec<u8>> {
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer.write_event(Event::Decl(BytesDecl::new("1.0", Some("UTF-8"), None)))?;
    let root = BytesStart::new("output").with_attributes([("xmlns", NAMESPACE), ("version", "1")]);
    writer.write_event(Event::Start(root))?;
    writer.write_event(Event::Empty(source_element(source)))?;
    match body {
        Body::Mapping(mapping) => {
            write_list(&mut writer, "dataPoints", &mapping.data_points, write_data_point)?;
        }
        Body::Keywords(keywords) => {
            write_list(&mut writer, "keywords", &keywords.keywords, write_keyword)?;
        }
    }
    writer.write_event(Event::End(BytesEnd::new("output")))?;
    let mut xml = writer.into_inner();
    xml.push(b'\n');
    Ok(xml)
}

fn write_list<T>(
    writer: &mut Writer<Vec<u8>>,
    name: &str,
    items: &[T],
    write: impl Fn(&mut Writer<Vec<u8>>, &T) -> std::io::Result<()>,
) -> std::io::Result<()> {
    writer.write_event(Event::Start(BytesStart::new(name)))?;
    for item in items {
        write(writer, item)?;
    }
    writer.write_event(Event::End(BytesEnd::new(name)))
}

fn source_element(source: &Source) -> BytesStart<'static> {
    let mut element = BytesStart::new("source");
    let hash = source.sha256.as_ref().map(|hash| hash.to_lowercase());
    let attributes = [
        ("document", source.document.as_ref()),
        ("sha256", hash.as_ref()),
        ("job", source.job.as_ref()),
        ("taxonomy", source.taxonomy.as_ref()),
        ("taxonomyVersion", source.taxonomy_version.as_ref()),
        ("createdAt", source.created_at.as_ref()),
    ];
    for (name, value) in attributes {
        if let Some(value) = value {
            push_attribute(&mut element, name, value);
        }
    }
    element
}

fn write_data_point(writer: &mut Writer<Vec<u8>>, finding: &Finding) -> std::io::Result<()> {
    let mut element = BytesStart::new("dataPoint");
    push_attribute(&mut element, "name", &finding.name);
    if let Some((name, _)) = Kind::ALL.iter().find(|(_, kind)| Some(*kind) == finding.kind) {
        push_attribute(&mut element, "type", name);
    }
    if let Some(currency) = &finding.currency {
        push_attribute(&mut element, "currency", currency);
    }
    push_attribute(&mut element, "confidence", &format_share(finding.confidence));
    if let Some(page) = finding.page.filter(|page| *page > 0) {
        push_attribute(&mut element, "page", &page.to_string());
    }
    if let Some(bbox) = &finding.bbox {
        push_attribute(&mut element, "box", &format_box(bbox));
    }
    if let Some(zone) = &finding.zone {
        push_attribute(&mut element, "zone", zone);
    }
    let Some(value) = &finding.value else { return writer.write_event(Event::Empty(element)) };
    writer.write_event(Event::Start(element))?;
    write_text(writer, "value", value)?;
    if let Some(normalized) = &finding.normalized {
        write_text(writer, "normalized", normalized)?;
    }
    writer.write_event(Event::End(BytesEnd::new("dataPoint")))
}

fn write_keyword(writer: &mut Writer<Vec<u8>>, keyword: &Keyword) -> std::io::Result<()> {
    let mut element = BytesStart::new("keyword");
    push_attribute(&mut element, "weight", &format_share(keyword.weight));
    push_attribute(&mut element, "count", &keyword.count.to_string());
    push_attribute(&mut element, "confidence", &format_share(keyword.confidence));
    writer.write_event(Event::Start(element))?;
    write_text(writer, "term", &keyword.term)?;
    if let Some(entry) = &keyword.entry {
        write_text(writer, "entry", entry)?;
    }
    writer.write_event(Event::End(BytesEnd::new("keyword")))
}

fn write_text(writer: &mut Writer<Vec<u8>>, name: &str, content: &str) -> std::io::Result<()> {
    writer.write_event(Event::Start(BytesStart::new(name)))?;
    writer.write_event(Event::Text(BytesText::new(&replace_illegal(content))))?;
    writer.write_event(Event::End(BytesEnd::new(name)))
}

fn push_attribute(element: &mut BytesStart<'_>, name: &str, value: &str) {
    element.push_attribute((name, &*replace_illegal(value)));
}

/// Formats a share as `xs:decimal`, which has no exponents.
fn format_share(share: f64) -> String {
    if share.is_finite() { format!("{:.3}", share.clamp(0.0, 1.0)) } else { "0.000".to_owned() }
}

fn format_box(bbox: &BBox) -> String {
    let numbers: [f32; 4] = (*bbox).into();
    numbers.map(|number| format!("{:.5}", if number.is_finite() { number } else { 0.0 })).join(" ")
}

/// Replaces the characters that XML 1.0 does not allow (section 2.2, production Char).
fn replace_illegal(text: &str) -> Cow<'_, str> {
    let allowed = |c: char| !matches!(c, '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{fffe}' | '\u{ffff}');
    if text.chars().all(allowed) {
        Cow::Borrowed(text)
    } else {
        Cow::Owned(text.chars().map(|c| if allowed(c) { c } else { '\u{fffd}' }).collect())
    }
}

#[cfg(test)]
mod tests {
    use std::process::{Command, Stdio};

    use super::*;

    fn mapping() -> Mapping {
        let finding = Finding {
            name: "seller.<name>".into(),
            kind: Some(Kind::String),
            value: Some("A & B <\"C\">\n\u{1}\u{ffff} ]]> é 𝄞".into()),
            normalized: Some("A & B".into()),
            confidence: 0.123_456,
            page: Some(2),
            bbox: Some(BBox { x: 0.000_001, y: 0.5, width: 1.0, height: 0.25 }),
            zone: Some("p2-z1".into()),
            ..Finding::default()
        };
        let missing = Finding { name: "total".into(), kind: Some(Kind::Amount), ..Finding::default() };
        Mapping { data_points: vec![finding, missing] }
    }

    fn source() -> Source {
        Source {
            document: Some("a \"b\" & c.pdf".into()),
            sha256: Some("AB".repeat(32)),
            created_at: Some("2024-01-31T10:00:00Z".into()),
            ..Source::default()
        }
    }

    fn keywords() -> Keywords {
        let keyword = |term: &str, entry: Option<&str>| Keyword {
            term: term.into(),
            weight: 1.0,
            count: 3,
            entry: entry.map(Into::into),
            confidence: 1e-9,
        };
        Keywords { keywords: vec![keyword("Q&A", None), keyword("x", Some("y < z"))] }
    }

    fn written(body: Body<'_>) -> String {
        String::from_utf8(write_output(body, &source()).expect("an output")).expect("UTF-8")
    }

    #[test]
    fn text_is_escaped_and_illegal_characters_are_replaced() {
        let xml = written(Body::Mapping(&mapping()));
        for part in [
            "<output xmlns=\"urn:docket:output:1\" version=\"1\">",
            "name=\"seller.&lt;name&gt;\"",
            "document=\"a &quot;b&quot; &amp; c.pdf\"",
            "<value>A &amp; B &lt;",
            "\u{fffd}\u{fffd} ]]&gt; é 𝄞</value>",
            "box=\"0.00000 0.50000 1.00000 0.25000\"",
            "<dataPoint name=\"total\" type=\"amount\" confidence=\"0.000\"/>",
        ] {
            assert!(xml.contains(part), "{part} in {xml}");
        }
    }

    #[test]
    fn output_is_well_formed_xml() {
        let (mapping, keywords) = (mapping(), keywords());
        for body in [Body::Mapping(&mapping), Body::Keywords(&keywords)] {
            let xml = written(body);
            let mut reader = quick_xml::Reader::from_str(&xml);
            while reader.read_event().expect("well-formed XML") != Event::Eof {}
        }
    }

    #[test]
    #[expect(clippy::print_stderr, reason = "says that it was skipped")]
    fn every_output_validates_against_the_schema() {
        if Command::new("xmllint")
            .arg("--version")
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_err()
        {
            eprintln!("skipped: xmllint is not installed");
            return;
        }
        let folder = std::env::temp_dir().join(format!("docket-xml-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder");
        let schema = folder.join("output.xsd");
        std::fs::write(&schema, XSD).expect("the schema");
        let (mapping, keywords, none) = (mapping(), keywords(), Mapping::default());
        for (name, body) in
            [("a", Body::Mapping(&mapping)), ("b", Body::Keywords(&keywords)), ("c", Body::Mapping(&none))]
        {
            let file = folder.join(name);
            std::fs::write(&file, write_output(body, &source()).expect("an output")).expect("the file");
            let run = Command::new("xmllint").args(["--noout", "--schema"]).args([&schema, &file]).output();
            let run = run.expect("xmllint");
            assert!(run.status.success(), "{}", String::from_utf8_lossy(&run.stderr));
        }
        std::fs::remove_dir_all(&folder).expect("the folder is ours");
    }
}
