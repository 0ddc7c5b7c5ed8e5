//! Refuses nested forms that would take years to draw.

use std::collections::HashMap;

use hayro_interpret::hayro_syntax::content::TypedIter;
use hayro_interpret::hayro_syntax::content::ops::TypedInstruction;
use hayro_interpret::hayro_syntax::object::{Dict, Name, ObjectIdentifier, Stream};

use crate::failure::Failure;

/// `hayro` draws no forms below this depth.
const MAX_DEPTH: usize = 50;

/// Number of times that each form draws each other form.
#[derive(Debug, Default)]
pub(super) struct FormGraph(HashMap<ObjectIdentifier, HashMap<ObjectIdentifier, u64>>);

impl FormGraph {
    /// Adds a stream if it is a form that draws forms or images.
    pub(super) fn add(&mut self, stream: &Stream<'_>) {
        let dict = stream.dict();
        let is_form = dict.get::<Name<'_>>("Subtype").is_some_and(|name| name.as_str() == "Form");
        let nested =
            dict.get::<Dict<'_>>("Resources").and_then(|resources| resources.get::<Dict<'_>>("XObject"));
        let (true, Some(nested)) = (is_form, nested) else { return };
        let Ok(content) = stream.decoded_data() else { return };
        let mut drawn = HashMap::new();
        let mut instructions = TypedIter::new(&content);
        while let Some(instruction) = instructions.next() {
            if let TypedInstruction::XObject(drawing) = instruction
                && let Some(child) = nested.get_ref(drawing.0)
            {
                *drawn.entry(ObjectIdentifier::from(child)).or_insert(0) += 1;
            }
        }
        self.0.insert(stream.obj_id(), drawn);
    }

    /// Checks that no form draws more than `limit` forms and images, all levels together.
    pub(super) fn check(&self, limit: u64) -> Result<(), Failure> {
        // Each round adds a level. The depth is bounded, so loops need no special treatment.
        let mut totals: HashMap<ObjectIdentifier, u64> = HashMap::new();
        for _ in 0..MAX_DEPTH {
            totals = self
                .0
                .iter()
                .map(|(form, children)| {
                    let below = children.iter().map(|(child, times)| {
                        // Other objects draw only themselves.
                        let each = totals.get(child).copied().unwrap_or(0).saturating_add(1);
                        times.saturating_mul(each)
                    });
                    (*form, below.fold(0, u64::saturating_add))
                })
                .collect();
            if totals.values().any(|total| *total > limit) {
                return Err(Failure::too_complex(
                    "The PDF contains forms that are nested too often. It is damaged or was made to overload programs."
                        .to_owned(),
                ));
            }
        }
        Ok(())
    }
}
