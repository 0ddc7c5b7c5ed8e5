//! GraphQL documents that are found by their hash: the cache of parsed documents, automatic persisted queries, and the
//! trusted documents of the operator.

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

use super::hidden_fields::add_hidden_fields;
use super::layout::{DataLayout, Layouts};
use super::parameters::Parameters;
use crate::config::{Persisted, Switch, TrustedDocuments};
use crate::graphql::guard::{self, Code, Limits, Refusal};
use crate::graphql::{SchemaTypes, check_literals, check_variable_usages};

/// Message upon which clients send the text of a persisted query.
const NOT_FOUND: &str = "PersistedQueryNotFound";
/// Prefix of a hash in a `documentId`.
const HASH_PREFIX: &str = "sha256:";

/// Weight of one field of a layout, in bytes of text. A field takes about 80 bytes of memory, and a parsed document
/// about twenty times its text. Fragments make a layout larger than its document.
const BYTES_PER_FIELD: usize = 4;

/// SHA-256 of a document's text.
type Hash = [u8; 32];

/// A parsed document that the guard has accepted, independent of its variables.
pub(super) struct Parsed {
    /// The document as the client wrote it.
    pub(super) document: ExecutableDocument,
    /// The document with hidden fields, if it needs any: see [`super::layout`].
    with_hidden: Option<ExecutableDocument>,
    layouts: Layouts,
    /// Weight in the cache, in bytes of text: the text itself, and the layouts at [`BYTES_PER_FIELD`].
    weight: u32,
}

impl Parsed {
    fn parse(text: &str, limits: &Limits) -> Result<Arc<Self>, Refusal> {
        let (document, types) = (guard::parse(text, limits)?, SchemaTypes::of_server());
        check_literals(types, &document, limits.introspection == Switch::On)?;
        check_variable_usages(types, &document)?;
        let mut with_hidden = document.clone();
        let with_hidden = add_hidden_fields(&mut with_hidden, types).then_some(with_hidden);
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
        self.layouts.get(&self.document, operation, variables, SchemaTypes::of_server())
    }
}

/// The document of a request.
pub(super) struct FoundDocument {
    pub(super) parsed: Arc<Parsed>,
    /// Hash of a document that is not cached yet, because it may be invalid.
    hash: Option<Hash>,
}

/// The GraphQL documents that a server knows.
pub(super) struct GraphqlDocuments {
    /// Cached documents by the hash of their text. The least recently used are evicted first.
    parsed: Cache<Hash, Arc<Parsed>>,
    /// Trusted documents by the hash in hexadecimal digits, and by the ID in their manifest.
    trusted: HashMap<String, Arc<Parsed>>,
    mode: TrustedDocuments,
    automatic: Switch,
    limits: Limits,
}

impl GraphqlDocuments {
    /// Reads the trusted documents. The error names an invalid one.
    pub(super) fn open(config: &Persisted, limits: &Limits) -> Result<Self, String> {
        let mut trusted = HashMap::new();
        if config.mode != TrustedDocuments::Off {
            for TrustedSource { id, text, origin } in read_sources(Path::new(&config.path))? {
                let parsed = Parsed::parse(&text, limits);
                let parsed = parsed.map_err(|refusal| format!("{origin}: {}", refusal.message))?;
                trusted.insert(hex::encode(hash(&text)), Arc::clone(&parsed));
                trusted.extend(id.map(|id| (id, parsed)));
            }
            tracing::info!(path = config.path, documents = trusted.len(), "trusted documents loaded");
        }
        let parsed = Cache::builder()
            .max_capacity(limits.cached_bytes)
            .weigher(|_, parsed: &Arc<Parsed>| parsed.weight)
            .eviction_policy(EvictionPolicy::lru())
            .build();
        Ok(Self { parsed, trusted, mode: config.mode, automatic: config.automatic, limits: limits.clone() })
    }

    /// Returns the parsed document of a request.
    pub(super) fn find(&self, parameters: &Parameters) -> Result<FoundDocument, Refusal> {
        let key = document_key(parameters)?;
        let known = |parsed| FoundDocument { parsed, hash: None };
        let Some(text) = &parameters.query else {
            return self.find_by_key(key.unwrap_or_default()).map(known);
        };
        let hash = hash(text);
        let digits = hex::encode(hash);
        let trusted = self.trusted.get(&digits);
        if let Some(key) = key
            && !key.eq_ignore_ascii_case(&digits)
            && !trusted.is_some_and(|own| self.trusted.get(key).is_some_and(|other| Arc::ptr_eq(own, other)))
        {
            let message = format!("The hash does not match the query. The SHA-256 of the query is {digits}.");
            return Err(Refusal::invalid_value(HASH_PATH.into(), message));
        }
        if let Some(document) = trusted {
            return Ok(known(Arc::clone(document)));
        }
        if self.mode == TrustedDocuments::Only {
            let message = "This document is not trusted. This server runs only trusted documents.";
            return Err(Refusal::new(Code::Forbidden, message, Vec::new()));
        }
        if let Some(document) = self.parsed.get(&hash) {
            return Ok(known(document));
        }
        Ok(FoundDocument { parsed: Parsed::parse(text, &self.limits)?, hash: Some(hash) })
    }

    /// Caches a valid document, for later requests with its text or hash.
    pub(super) fn cache(&self, found: &FoundDocument) {
        if let Some(hash) = found.hash {
            self.parsed.insert(hash, Arc::clone(&found.parsed));
        }
    }

    fn find_by_key(&self, key: &str) -> Result<Arc<Parsed>, Refusal> {
        let digits = key.to_ascii_lowercase();
        if let Some(document) = self.trusted.get(key).or_else(|| self.trusted.get(&digits)) {
            return Ok(Arc::clone(document));
        }
        let mut hash = Hash::default();
        let may_be_cached = self.automatic == Switch::On
            && self.mode != TrustedDocuments::Only
            && hex::decode_to_slice(&digits, &mut hash).is_ok();
        let found = may_be_cached.then(|| self.parsed.get(&hash)).flatten();
        found.ok_or_else(|| Refusal::new(Code::NotPersisted, NOT_FOUND, Vec::new()))
    }
}

/// Path of the hash in a request.
const HASH_PATH: &str = "/extensions/persistedQuery/sha256Hash";

/// Returns the ID or hash of the document in a request, without the prefix of a hash.
fn document_key(parameters: &Parameters) -> Result<Option<&str>, Refusal> {
    if let Some(id) = &parameters.document_id {
        return Ok(Some(id.strip_prefix(HASH_PREFIX).unwrap_or(id)));
    }
    let extension = parameters.extensions.get("persistedQuery").filter(|extension| !extension.is_null());
    let Some(extension) = extension else { return Ok(None) };
    if extension["version"] != 1 {
        let message = "Unsupported version of persistedQuery. The only version is 1.";
        return Err(Refusal::invalid_value("/extensions/persistedQuery/version".into(), message));
    }
    let hash = extension["sha256Hash"].as_str().filter(|hash| !hash.is_empty());
    hash.map(Some).ok_or_else(|| {
        Refusal::invalid_value(HASH_PATH.into(), "sha256Hash must be a string that is not empty.")
    })
}

fn hash(text: &str) -> Hash {
    Sha256::digest(text.as_bytes()).into()
}

/// The text of a trusted document.
struct TrustedSource {
    id: Option<String>,
    text: String,
    /// File and ID, for error messages.
    origin: String,
}

/// A manifest in the format of the Apollo tools.
#[derive(Deserialize)]
struct Manifest {
    operations: Vec<ManifestOperation>,
}

#[derive(Deserialize)]
struct ManifestOperation {
    id: String,
    body: String,
}

/// Reads a folder of `.graphql` files, or a manifest.
fn read_sources(path: &Path) -> Result<Vec<TrustedSource>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("persisted.path {}: {error}", path.display());
    if path.is_dir() {
        let mut found = Vec::new();
        for entry in std::fs::read_dir(path).map_err(|error| wrong(&error))? {
            let path = entry.map_err(|error| wrong(&error))?.path();
            if path.extension().is_some_and(|extension| extension == "graphql" || extension == "gql") {
                let origin = path.display().to_string();
                let text = std::fs::read_to_string(&path).map_err(|error| format!("{origin}: {error}"))?;
                found.push(TrustedSource { id: None, text, origin });
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
            wrong(&"expected a manifest of persisted queries, or a JSON object with a document for each ID")
        })?
    };
    let source = |(id, text): (String, String)| {
        let origin = format!("{}, {id}", path.display());
        let id = id.strip_prefix(HASH_PREFIX).map_or(id.clone(), str::to_owned);
        TrustedSource { id: Some(id), text, origin }
    };
    Ok(operations.into_iter().map(source).collect())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn documents(config: &Persisted) -> Result<GraphqlDocuments, String> {
        GraphqlDocuments::open(config, &Limits::default())
    }

    fn parameters(json: Json) -> Parameters {
        Parameters::try_from(json).unwrap()
    }

    fn by_hash(hash: &str) -> Parameters {
        parameters(json!({"extensions": {"persistedQuery": {"version": 1, "sha256Hash": hash}}}))
    }

    fn code(found: Result<FoundDocument, Refusal>) -> &'static str {
        found.map_or_else(|refusal| refusal.code.as_str(), |_| "OK")
    }

    fn config(mode: TrustedDocuments, path: &Path) -> Persisted {
        Persisted { mode, path: path.display().to_string(), automatic: Switch::On }
    }

    const TEXT: &str = "{ viewer { id } }";

    #[test]
    fn cache_weight_counts_a_fragment_for_each_use() {
        let weight = |query: &str| Parsed::parse(query, &Limits::default()).unwrap().weight as usize;
        let fragment = "fragment F on Query { viewer { id email name } }";
        let once = format!("query A {{ ...F }} {fragment}");
        let thrice = format!("query A {{ ...F }} query B {{ ...F }} query C {{ ...F }} {fragment}");
        assert_eq!(weight(&once), once.len() + 4 * BYTES_PER_FIELD);
        assert_eq!(weight(&thrice), thrice.len() + 12 * BYTES_PER_FIELD);
    }

    #[test]
    fn valid_document_is_found_by_its_hash_until_evicted() {
        let config = config(TrustedDocuments::Off, Path::new(""));
        let limits = Limits { cached_bytes: 100, ..Limits::default() };
        let documents = GraphqlDocuments::open(&config, &limits).unwrap();
        let digits = hex::encode(hash(TEXT));
        assert_eq!(code(documents.find(&by_hash(&digits))), "PERSISTED_QUERY_NOT_FOUND");
        let first = documents.find(&parameters(json!({"query": TEXT}))).unwrap();
        assert_eq!(code(documents.find(&by_hash(&digits))), "PERSISTED_QUERY_NOT_FOUND", "it may be invalid");
        documents.cache(&first);
        let again = documents.find(&parameters(json!({"query": TEXT}))).unwrap();
        assert!(Arc::ptr_eq(&first.parsed, &again.parsed), "it is parsed once");
        for named in [
            by_hash(&digits),
            by_hash(&digits.to_uppercase()),
            parameters(json!({"documentId": format!("sha256:{digits}")})),
        ] {
            assert!(Arc::ptr_eq(&first.parsed, &documents.find(&named).unwrap().parsed));
        }
        for other in 0..20 {
            let found =
                documents.find(&parameters(json!({"query": format!("{{ viewer {{ a{other}: id }} }}")})));
            documents.cache(&found.unwrap());
        }
        documents.parsed.run_pending_tasks();
        assert!(documents.parsed.weighted_size() <= 100);
        assert_eq!(code(documents.find(&by_hash(&digits))), "PERSISTED_QUERY_NOT_FOUND");
    }

    #[test]
    fn hash_must_match_the_query() {
        let documents = documents(&config(TrustedDocuments::Off, Path::new(""))).unwrap();
        let other = hex::encode(hash("{ other }"));
        for (extension, path) in [
            (json!({"version": 1, "sha256Hash": other}), HASH_PATH),
            (json!({"version": 1, "sha256Hash": ""}), HASH_PATH),
            (json!({"version": 1}), HASH_PATH),
            (json!({"version": 2, "sha256Hash": other}), "/extensions/persistedQuery/version"),
            (json!("x"), "/extensions/persistedQuery/version"),
        ] {
            let wrong = parameters(json!({"query": TEXT, "extensions": {"persistedQuery": extension}}));
            let Err(refusal) = documents.find(&wrong) else { panic!("{extension} was accepted") };
            assert_eq!((refusal.code, refusal.path.as_deref()), (Code::BadInput, Some(path)));
        }
        assert_eq!(code(documents.find(&by_hash(&other))), "PERSISTED_QUERY_NOT_FOUND", "nothing was cached");
    }

    #[test]
    fn mode_only_refuses_documents_that_are_not_trusted() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("viewer.graphql"), TEXT).unwrap();
        std::fs::write(folder.path().join("README.md"), "no document").unwrap();
        let digits = hex::encode(hash(TEXT));
        let other = json!({"query": "{ viewer { name } }"});
        for (mode, foreign) in [(TrustedDocuments::Allow, "OK"), (TrustedDocuments::Only, "FORBIDDEN")] {
            let documents = documents(&config(mode, folder.path())).unwrap();
            assert_eq!(code(documents.find(&by_hash(&digits))), "OK");
            assert_eq!(code(documents.find(&parameters(json!({"query": TEXT})))), "OK");
            assert_eq!(code(documents.find(&parameters(other.clone()))), foreign);
        }
    }

    #[test]
    fn manifest_documents_are_found_by_their_ids() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let apollo = json!({"format": "apollo-persisted-query-manifest", "version": 1, "operations":
            [{"id": "viewer-1", "name": "Viewer", "type": "query", "body": TEXT}]});
        for manifest in [apollo, json!({"viewer-1": TEXT})] {
            std::fs::write(file.path(), manifest.to_string()).unwrap();
            let documents = documents(&config(TrustedDocuments::Only, file.path())).unwrap();
            let with_text = json!({"query": TEXT, "extensions": {"persistedQuery": {"version": 1, "sha256Hash": "viewer-1"}}});
            for good in [json!({"documentId": "viewer-1"}), with_text] {
                assert_eq!(code(documents.find(&parameters(good))), "OK");
            }
            assert_eq!(
                code(documents.find(&parameters(json!({"documentId": "viewer-2"})))),
                "PERSISTED_QUERY_NOT_FOUND"
            );
        }
    }

    #[test]
    fn invalid_trusted_documents_are_named_at_startup() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("broken.graphql"), "{ viewer {").unwrap();
        let error = documents(&config(TrustedDocuments::Allow, folder.path())).err().unwrap();
        assert!(error.contains("broken.graphql: Syntax error"), "{error}");
        let file = folder.path().join("manifest.json");
        for (text, expected) in
            [("{", "EOF"), ("[1]", "expected a manifest"), ("{\"a\": 1}", "expected a manifest")]
        {
            std::fs::write(&file, text).unwrap();
            let error = documents(&config(TrustedDocuments::Only, &file)).err().unwrap();
            assert!(error.contains("manifest.json") && error.contains(expected), "{error}");
        }
        assert!(documents(&config(TrustedDocuments::Only, &folder.path().join("nothing"))).is_err());
    }
}
