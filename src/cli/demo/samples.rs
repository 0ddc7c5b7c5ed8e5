//! The sample documents of the demo and their taxonomy. All contents are fictitious.

use std::path::Path;

use crate::client::{ClientError, Result};

/// The definition of the taxonomy, as `putTaxonomy` takes it.
pub(crate) const TAXONOMY: &str = include_str!("samples/demo-invoice.json");
/// The name of the taxonomy.
pub(crate) const TAXONOMY_NAME: &str = "demo-invoice";

/// A sample document that is embedded in the program.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Sample {
    /// The file name.
    pub name: &'static str,
    /// The description for people.
    pub(crate) about: &'static str,
    /// The bytes of the file.
    pub bytes: &'static [u8],
}

/// All samples; the demo submits the first.
pub(crate) const SAMPLES: [Sample; 3] = [
    Sample {
        name: "invoice-harbour-lane.pdf",
        about: "an invoice",
        bytes: include_bytes!("samples/invoice-harbour-lane.pdf"),
    },
    Sample {
        name: "rechnung-nordwind.pdf",
        about: "an invoice in German",
        bytes: include_bytes!("samples/rechnung-nordwind.pdf"),
    },
    Sample {
        name: "order-fernweh.html",
        about: "an order confirmation, as a web page",
        bytes: include_bytes!("samples/order-fernweh.html"),
    },
];

/// Writes the samples and the taxonomy into a folder, and creates it if it does not exist.
pub(crate) fn write_to(folder: &Path) -> Result<()> {
    let failed = |path: &Path| {
        let path = path.to_owned();
        move |cause| ClientError::File { path, cause }
    };
    std::fs::create_dir_all(folder).map_err(failed(folder))?;
    let taxonomy = (format!("{TAXONOMY_NAME}.json"), TAXONOMY.as_bytes());
    let samples = SAMPLES.iter().map(|sample| (sample.name.to_owned(), sample.bytes));
    for (name, bytes) in samples.chain([taxonomy]) {
        let path = folder.join(name);
        std::fs::write(&path, bytes).map_err(failed(&path))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use docket_extract::layout::DocumentLayout;
    use docket_extract::limits::Limits;
    use docket_extract::taxonomy::Taxonomy;
    use docket_extract::{html, mapping, pdf, zoning};

    use super::*;

    fn layout(sample: &Sample) -> DocumentLayout {
        let limits = Limits::default();
        if sample.name.ends_with(".pdf") {
            pdf::read(Arc::new(sample.bytes.to_vec()), &limits, &mut |_| {}).unwrap().layout
        } else {
            html::read(sample.bytes, &limits).unwrap()
        }
    }

    /// Returns the values that the demo's taxonomy finds in a sample: names with normalized values.
    fn found(sample: &Sample) -> Vec<(String, String)> {
        let definition = serde_json::from_str(TAXONOMY).unwrap();
        let taxonomy = Taxonomy::parse(&definition).unwrap();
        assert_eq!(taxonomy.name, TAXONOMY_NAME);
        let layout = layout(sample);
        let zones = zoning::find_zones(&layout.document, &layout.hints);
        let points = mapping::map_document(&layout.document, Some(&zones), &taxonomy).data_points;
        points.into_iter().map(|point| (point.name, point.normalized.unwrap_or_default())).collect()
    }

    fn expect(sample: &Sample, values: [&str; 9]) {
        let names = [
            "invoice.number",
            "invoice.date",
            "invoice.due_date",
            "supplier.name",
            "amount.net",
            "amount.tax",
            "amount.gross",
            "payment.currency",
            "payment.iban",
        ];
        let expected: Vec<(String, String)> =
            names.into_iter().zip(values).map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        assert_eq!(found(sample), expected, "{}", sample.name);
    }

    #[test]
    fn every_value_of_every_sample_is_found() {
        let [english, german, order] = &SAMPLES;
        expect(
            english,
            [
                "HL-2025-0418",
                "2025-03-14",
                "2025-04-13",
                "Harbour Lane Instruments Ltd",
                "1150.00",
                "230.00",
                "1380.00",
                "GBP",
                "GB91DKET00000031415926",
            ],
        );
        expect(
            german,
            [
                "NW-10472",
                "2025-05-02",
                "2025-06-01",
                "Nordwind Bürobedarf GmbH",
                "1514.50",
                "287.76",
                "1802.26",
                "EUR",
                "DE17000000000031415926",
            ],
        );
        expect(
            order,
            [
                "FW-77120",
                "2025-06-27",
                "2025-07-11",
                "Fernweh Outfitters Ltd",
                "225.00",
                "51.75",
                "276.75",
                "EUR",
                "IE44DKET00000027182818",
            ],
        );
    }

    #[test]
    fn samples_and_taxonomy_are_written_to_the_folder() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("demo/samples");
        write_to(&inner).unwrap();
        assert_eq!(std::fs::read(inner.join("demo-invoice.json")).unwrap(), TAXONOMY.as_bytes());
        for sample in SAMPLES {
            assert_eq!(std::fs::read(inner.join(sample.name)).unwrap(), sample.bytes);
        }
        let error = write_to(&inner.join("demo-invoice.json")).unwrap_err().to_string();
        assert!(error.contains("demo-invoice.json"), "{error}");
    }
}
