//! Refuses forms that draw forms that draw forms: a few kilobytes that take years to draw.

use std::collections::HashMap;

use hayro_interpret::hayro_syntax::content::TypedIter;
use hayro_interpret::hayro_syntax::content::ops::TypedInstruction;
use hayro_interpret::hayro_syntax::object::{Dict, Name, ObjectIdentifier, Stream};

use super::too_complex;
use crate::failure::Failure;

/// `hayro` draws no form that is nested deeper.
const MAX_DEPTH: usize = 50;

/// Which form draws which others, and how often.
#[derive(Debug, Default)]
pub(super) struct Forms(HashMap<ObjectIdentifier, HashMap<ObjectIdentifier, u64>>);

impl Forms {
    /// Takes note of a stream if it is a form with forms or pictures of its own.
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

    /// Checks that drawing one form draws no more than `limit` forms and pictures in turn, all levels together.
    pub(super) fn check(&self, limit: u64) -> Result<(), Failure> {
        // How many are drawn down to a depth, deeper with each round. Loops need no care, for depth is bounded.
        let mut totals: HashMap<ObjectIdentifier, u64> = HashMap::new();
        for _ in 0..MAX_DEPTH {
            totals = self
                .0
                .iter()
                .map(|(form, children)| {
                    let below = children.iter().map(|(child, times)| {
                        // What is no such form draws nothing but itself.
                        let each = totals.get(child).copied().unwrap_or(0).saturating_add(1);
                        times.saturating_mul(each)
                    });
                    (*form, below.fold(0, u64::saturating_add))
                })
                .collect();
            if totals.values().any(|total| *total > limit) {
                return Err(too_complex(
                    "The PDF draws the same things over and over, nested in one another. It is damaged or was made to \
                     overload programs."
                        .to_owned(),
                ));
            }
        }
        Ok(())
    }
}
