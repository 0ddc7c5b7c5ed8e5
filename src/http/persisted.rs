//! Documents that are known by their hash: those that were parsed before, those that clients named ("automatic persisted
//! queries"), and those that the operator trusts.

use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;

use async_graphql::Variables;
use async_graphql::parser::types::ExecutableDocument;
use moka::policy::EvictionPolicy;
use moka::sync::Cache;
use serde::Deserialize;
use serde_json::Value as Json;
use sha2::{Digest, Sha256};

use super::layout::{self, DataLayout, Layouts};
use super::parameters::Parameters;
use crate::config::{Persisted, Switch, Trusted};
use crate::graphql::guard::{self, Code, Limits, Refusal};
use crate::graphql::{SchemaTypes, check_literals, check_variable_usages};

/// What clients that know a document by its hash look for, to send it whole then.
const NOT_FOUND: &str = "PersistedQueryNotFound";
/// What a hash is called by in a `documentId`.
const PREFIX: &str = "sha256:";

/// Bytes of text that a field of a layout counts as. A field takes about 80 bytes of memory, and a parsed document about
/// twenty times its text. Fragments make a layout larger than its document.
const BYTES_PER_FIELD: usize = 4;

/// SHA-256 of a document's text.
type Hash = [u8; 32];

/// A document that the guard has let through, whatever its variables will be.
pub(super) struct Parsed {
    /// As it was written.
    pub(super) document: ExecutableDocument,
    /// As it is run, where that is not the same: see [`layout`].
    with_hidden: Option<ExecutableDocument>,
    layouts: Layouts,
    /// Size in the cache: the bytes of the text, and those of as much text as takes the memory of the layouts.
    weight: u32,
}

impl Parsed {
    fn of(text: &str, limits: &Limits) -> Result<Arc<Self>, Refusal> {
        let (document, types) = (guard::parse(text, limits)?, SchemaTypes::of_server());
        check_literals(types, &document, limits.introspection == Switch::On)?;
        check_variable_usages(types, &document)?;
        let mut with_hidden = document.clone();
        let with_hidden = layout::add_hidden_fields(&mut with_hidden, types).then_some(with_hidden);
        let layouts = Layouts::new(&document, types);
        let weight = text.len() + layouts.count_fields() * BYTES_PER_FIELD;
        let weight = u32::try_from(weight).unwrap_or(u32::MAX);
        Ok(Arc::new(Self { document, with_hidden, layouts, weight }))
    }

    /// Returns the document to run.
    pub(super) fn runnable(&self) -> &ExecutableDocument {
        self.with_hidden.as_ref().unwrap_or(&self.document)
    }

    /// Returns the layout of an operation's response; `variables` include the defaults.
    pub(super) fn layout(&self, operation: Option<&str>, variables: &Variables) -> Arc<DataLayout> {
        self.layouts.of(&self.document, operation, variables, SchemaTypes::of_server())
    }
}

/// The document of a request.
pub(super) struct Found {
    pub(super) parsed: Arc<Parsed>,
    /// The hash of a document that is not kept yet, since it may be invalid.
    hash: Option<Hash>,
}

/// The documents of a server.
pub(super) struct Documents {
    /// By the hash of their text; those that nobody asked for longest go first.
    parsed: Cache<Hash, Arc<Parsed>>,
    /// By the hash in hexadecimal digits, and by the ID of their manifest.
    trusted: HashMap<String, Arc<Parsed>>,
    mode: Trusted,
    automatic: Switch,
    limits: Limits,
}

impl Documents {
    /// Reads the trusted documents. The error names the one that cannot be run.
    pub(super) fn open(config: &Persisted, limits: &Limits) -> Result<Self, String> {
        let mut trusted = HashMap::new();
        if config.mode != Trusted::Off {
            for Source { id, text, origin } in sources(Path::new(&config.path))? {
                let parsed = Parsed::of(&text, limits);
                let parsed = parsed.map_err(|refusal| format!("{origin}: {}", refusal.message))?;
                trusted.insert(hex::encode(hash(&text)), Arc::clone(&parsed));
                trusted.extend(id.map(|id| (id, parsed)));
            }
            tracing::info!(path = config.path, documents = trusted.len(), "trusted documents are read");
        }
        let parsed = Cache::builder()
            .max_capacity(limits.cached_bytes)
            .weigher(|_, parsed: &Arc<Parsed>| parsed.weight)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Ok(Self { parsed, trusted, mode: config.mode, automatic: config.automatic, limits: limits.clone() })
    }

    /// Returns the document of a request, parsed.
    pub(super) fn find(&self, asked: &Parameters) -> Result<Found, Refusal> {
        let name = name(asked)?;
        let known = |parsed| Found { parsed, hash: None };
        let Some(text) = &asked.query else { return self.named(name.unwrap_or_default()).map(known) };
        let hash = hash(text);
        let digits = hex::encode(hash);
        let trusted = self.trusted.get(&digits);
        if let Some(name) = name
            && !name.eq_ignore_ascii_case(&digits)
            && !trusted.is_some_and(|own| self.trusted.get(name).is_some_and(|other| Arc::ptr_eq(own, other)))
        {
            let message = format!("The hash is not that of the query, whose SHA-256 is {digits}.");
            return Err(Refusal::variable(HASH.into(), message));
        }
        if let Some(document) = trusted {
            return Ok(known(Arc::clone(document)));
        }
        if self.mode == Trusted::Only {
            let message = "This server runs trusted documents only, and this is none of them.";
            return Err(Refusal::new(Code::Forbidden, message, Vec::new()));
        }
        if let Some(document) = self.parsed.get(&hash) {
            return Ok(known(document));
        }
        Ok(Found { parsed: Parsed::of(text, &self.limits)?, hash: Some(hash) })
    }

    /// Keeps a document that turned out to be valid, for the next request and for whoever names its hash.
    pub(super) fn keep(&self, found: &Found) {
        if let Some(hash) = found.hash {
            self.parsed.insert(hash, Arc::clone(&found.parsed));
        }
    }

    fn named(&self, name: &str) -> Result<Arc<Parsed>, Refusal> {
        let digits = name.to_ascii_lowercase();
        if let Some(document) = self.trusted.get(name).or_else(|| self.trusted.get(&digits)) {
            return Ok(Arc::clone(document));
        }
        let mut hash = Hash::default();
        let known = self.automatic == Switch::On
            && self.mode != Trusted::Only
            && hex::decode_to_slice(&digits, &mut hash).is_ok();
        let found = known.then(|| self.parsed.get(&hash)).flatten();
        found.ok_or_else(|| Refusal::new(Code::NotPersisted, NOT_FOUND, Vec::new()))
    }
}

/// Where a hash stands that a client sends.
const HASH: &str = "/extensions/persistedQuery/sha256Hash";

/// What a request calls its document by, without the prefix of a hash.
fn name(asked: &Parameters) -> Result<Option<&str>, Refusal> {
    if let Some(id) = &asked.document_id {
        return Ok(Some(id.strip_prefix(PREFIX).unwrap_or(id)));
    }
    let Some(extension) = asked.extensions.get("persistedQuery").filter(|extension| !extension.is_null())
    else {
        return Ok(None);
    };
    if extension["version"] != 1 {
        let message = "The version of persistedQuery is 1.";
        return Err(Refusal::variable("/extensions/persistedQuery/version".into(), message));
    }
    let hash = extension["sha256Hash"].as_str().filter(|hash| !hash.is_empty());
    hash.map(Some).ok_or_else(|| Refusal::variable(HASH.into(), "The sha256Hash is a string."))
}

fn hash(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

/// A document that the operator trusts.
struct Source {
    id: Option<String>,
    text: String,
    /// For messages.
    origin: String,
}

/// The manifest that Apollo's tools write.
#[derive(Deserialize)]
struct Manifest {
    operations: Vec<Operation>,
}

#[derive(Deserialize)]
struct Operation {
    id: String,
    body: String,
}

/// Reads a folder of `.graphql` files, or a manifest.
fn sources(path: &Path) -> Result<Vec<Source>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("persisted.path {}: {error}", path.display());
    if path.is_dir() {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(|error| wrong(&error))? {
            let path = entry.map_err(|error| wrong(&error))?.path();
            if path.extension().is_some_and(|extension| extension == "graphql" || extension == "gql") {
                let origin = path.display().to_string();
                let text = std::fs::read_to_string(&path).map_err(|error| format!("{origin}: {error}"))?;
                found.push(Source { id: None, text, origin });
            }
        }
        return Ok(found);
    }
    let text = std::fs::read_to_string(path).map_err(|error| wrong(&error))?;
    let json: Json = serde_json::from_str(&text).map_err(|error| wrong(&error))?;
    let operations = if json.get("operations").is_some_and(Json::is_array) {
        let Manifest { operations } = serde_json::from_value(json).map_err(|error| wrong(&error))?;
        operations.into_iter().map(|operation| (operation.id, operation.body)).collect()
    } else {
        serde_json::from_value::<HashMap<String, String>>(json).map_err(|_| {
            wrong(&"it is neither a manifest of persisted queries nor an object of documents by their IDs")
        })?
    };
    let source = |(id, text): (String, String)| {
        let origin = format!("{}, {id}", path.display());
        let id = id.strip_prefix(PREFIX).map_or(id.clone(), str::to_owned);
        Source { id: Some(id), text, origin }
    };
    Ok(operations.into_iter().map(source).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn documents(config: &Persisted) -> Result<Documents, String> {
        Documents::open(config, &Limits::default())
    }

    fn asked(json: Json) -> Parameters {
        Parameters::try_from(json).unwrap()
    }

    fn by_hash(hash: &str) -> Parameters {
        asked(json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash}}}))
    }

    fn code(found: Result<Found, Refusal>) -> &'static str {
        found.map_or_else(|refusal| refusal.code.as_str(), |_| "OK")
    }

    fn config(mode: Trusted, path: &Path) -> Persisted {
        Persisted { mode, path: path.display().to_string(), automatic: Switch::On }
    }

    const TEXT: &str = "{ viewer { id } }";

    #[test]
    fn fragments_count_in_the_cache_as_often_as_they_are_used() {
        let weight = |query: &str| Parsed::of(query, &Limits::default()).unwrap().weight as usize;
        let fragment = "fragment F on Query { viewer { id email name } }";
        let once = format!("query A {{ ...F }} {fragment}");
        let thrice = format!("query A {{ ...F }} query B {{ ...F }} query C {{ ...F }} {fragment}");
        assert_eq!(weight(&once), once.len() + 4 * BYTES_PER_FIELD);
        assert_eq!(weight(&thrice), thrice.len() + 12 * BYTES_PER_FIELD);
    }

    #[test]
    fn what_was_sent_once_is_found_by_its_hash_until_there_is_no_room() {
        let config = config(Trusted::Off, Path::new(""));
        let limits = Limits { cached_bytes: 100, ..Limits::default() };
        let documents = Documents::open(&config, &limits).unwrap();
        let digits = hex::encode(hash(TEXT));
        assert_eq!(code(documents.find(&by_hash(&digits))), "PERSISTED_QUERY_NOT_FOUND");
        let first = documents.find(&asked(json!({"query": TEXT}))).unwrap();
        assert_eq!(code(documents.find(&by_hash(&digits))), "PERSISTED_QUERY_NOT_FOUND", "it may be invalid");
        documents.keep(&first);
        let again = documents.find(&asked(json!({"query": TEXT}))).unwrap();
        assert!(Arc::ptr_eq(&first.parsed, &again.parsed), "it is parsed once");
        for named in [
            by_hash(&digits),
            by_hash(&digits.to_uppercase()),
            asked(json!({"documentId": format!("sha256:{digits}")})),
        ] {
            assert!(Arc::ptr_eq(&first.parsed, &documents.find(&named).unwrap().parsed));
        }
        for other in 0..20 {
            let found = documents.find(&asked(json!({"query": format!("{{ viewer {{ a{other}: id }} }}")})));
            documents.keep(&found.unwrap());
        }
        documents.parsed.run_pending_tasks();
        assert!(documents.parsed.weighted_size() <= 100);
        assert_eq!(code(documents.find(&by_hash(&digits))), "PERSISTED_QUERY_NOT_FOUND");
    }

    #[test]
    fn hashes_are_verified() {
        let documents = documents(&config(Trusted::Off, Path::new(""))).unwrap();
        let other = hex::encode(hash("{ other }"));
        for (extension, path) in [
            (json!({"version": 1, "sha256Hash": other}), HASH),
            (json!({"version": 1, "sha256Hash": ""}), HASH),
            (json!({"version": 1}), HASH),
            (json!({"version": 2, "sha256Hash": other}), "/extensions/persistedQuery/version"),
            (json!("x"), "/extensions/persistedQuery/version"),
        ] {
            let wrong = asked(json!({"query": TEXT, "extensions": {"persistedQuery": extension}}));
            let Err(refusal) = documents.find(&wrong) else { panic!("{extension} was taken") };
            assert_eq!((refusal.code, refusal.variable.as_deref()), (Code::BadInput, Some(path)));
        }
        assert_eq!(code(documents.find(&by_hash(&other))), "PERSISTED_QUERY_NOT_FOUND", "nothing was kept");
    }

    #[test]
    fn only_what_is_trusted_runs_where_the_operator_says_so() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("viewer.graphql"), TEXT).unwrap();
        std::fs::write(folder.path().join("README.md"), "no document").unwrap();
        let digits = hex::encode(hash(TEXT));
        let other = json!({"query": "{ viewer { name } }"});
        for (mode, foreign) in [(Trusted::Allow, "OK"), (Trusted::Only, "FORBIDDEN")] {
            let documents = documents(&config(mode, folder.path())).unwrap();
            assert_eq!(code(documents.find(&by_hash(&digits))), "OK");
            assert_eq!(code(documents.find(&asked(json!({"query": TEXT})))), "OK");
            assert_eq!(code(documents.find(&asked(other.clone()))), foreign);
        }
    }

    #[test]
    fn manifests_name_documents_by_ids_of_their_own() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let apollo = json!({"format": "apollo-persisted-query-manifest", "version": 1, "operations":
            [{"id": "viewer-1", "name": "Viewer", "type": "query", "body": TEXT}]});
        for manifest in [apollo, json!({"viewer-1": TEXT})] {
            std::fs::write(file.path(), manifest.to_string()).unwrap();
            let documents = documents(&config(Trusted::Only, file.path())).unwrap();
            let with_text = json!({"query": TEXT, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": "viewer-1"}}});
            for good in [json!({"documentId": "viewer-1"}), with_text] {
                assert_eq!(code(documents.find(&asked(good))), "OK");
            }
            assert_eq!(
                code(documents.find(&asked(json!({"documentId": "viewer-2"})))),
                "PERSISTED_QUERY_NOT_FOUND"
            );
        }
    }

    #[test]
    fn documents_that_cannot_be_trusted_are_named_at_the_start() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("broken.graphql"), "{ viewer {").unwrap();
        let error = documents(&config(Trusted::Allow, folder.path())).err().unwrap();
        assert!(error.contains("broken.graphql: Syntax error"), "{error}");
        let file = folder.path().join("manifest.json");
        for (text, said) in
            [("{", "EOF"), ("[1]", "neither a manifest"), ("{\"a\": 1}", "neither a manifest")]
        {
            std::fs::write(&file, text).unwrap();
            let error = documents(&config(Trusted::Only, &file)).err().unwrap();
            assert!(error.contains("manifest.json") && error.contains(said), "{error}");
        }
        assert!(documents(&config(Trusted::Only, &folder.path().join("nothing"))).is_err());
    }
}
