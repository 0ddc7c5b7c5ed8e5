//! Changes of the contents of a locked job: adding versions, and superseding them.

use docket_extract::review::Score;
use serde_json::json;

use super::locked::LockedJob;
use super::write_set::ScoreWrite;
use crate::entity::enums::{EventKind, Mode};
use crate::entity::{content, document};
use crate::error::Result;
use crate::id::ContentId;
use crate::job::contents::{Grade, Origin};
use crate::job_type::INPUT;

impl LockedJob {
    /// Adds the row of a document that this change creates.
    pub(crate) fn add_document(&mut self, document: document::Model) {
        self.writes.documents.push(document);
    }

    /// Adds the next version of a role. The version before it is superseded, not lost.
    pub(crate) fn add_content(
        &mut self,
        role: &str,
        document: &document::Model,
        origin: Origin<'_>,
    ) -> Result<ContentId> {
        let (step, made) = match origin {
            Origin::Given(step) => (step, false),
            Origin::Made(step) => (Some(step), true),
        };
        let (id, job_id, now) = (ContentId::new(), self.row().id, self.now());
        let row = content::Model {
            id,
            job_id,
            role: role.to_owned(),
            version: 1,
            document_id: document.id,
            step: step.map(str::to_owned),
            current: true,
            made,
            undone: false,
            created_at: now,
        };
        let version = self.contents_mut()?.add(row, document.clone());
        let data = json!({
            "role": role, "version": version, "documentId": document.id, "name": document.name,
            "type": document.media_type, "size": document.size, "sha256": document.sha256, "step": step,
        });
        // Everyone who sees the job may read its input; `step` would hide the event from some of them.
        let visible_with = step.filter(|_| role != INPUT);
        self.record(EventKind::ContentAdded, visible_with, data);
        Ok(id)
    }

    /// Returns the newest content of a role, with its document.
    pub(crate) fn current_content(
        &self,
        role: &str,
    ) -> Result<Option<(&content::Model, Option<&document::Model>)>> {
        Ok(self.contents()?.current(role))
    }

    /// Supersedes the contents that a step and all later steps have made.
    pub(crate) fn supersede_from(&mut self, step: usize) -> Result<()> {
        let names: Vec<_> = self.state().steps[step..].iter().map(|step| step.name.clone()).collect();
        let names: Vec<_> = names.iter().map(String::as_str).collect();
        self.contents_mut()?.undo(&names)
    }

    /// Stores the confidences of a content, for simulating other thresholds. Those of TEST jobs are not kept.
    pub(crate) fn keep_scores(&mut self, content: ContentId, step: &str, scores: Vec<Score>) {
        if self.state().mode == Mode::Live && !scores.is_empty() {
            let step = step.to_owned();
            self.writes.scores.push(ScoreWrite::Insert { content, step, scores });
        }
    }

    /// Records that a reviewer has seen the values of a content that were due for review.
    pub(crate) fn mark_reviewed(&mut self, content: ContentId) {
        self.writes.scores.push(ScoreWrite::MarkReviewed(content));
    }

    /// Counts corrected values of a content by their confidence.
    pub(crate) fn count_corrections(&mut self, content: ContentId, grades: Vec<Grade>) {
        self.writes.scores.push(ScoreWrite::CountCorrections { content, grades });
    }

    /// Moves the confidences of a content to the one that replaces it.
    pub(crate) fn move_scores(&mut self, from: ContentId, to: ContentId) {
        self.writes.scores.push(ScoreWrite::Move { from, to });
    }
}
