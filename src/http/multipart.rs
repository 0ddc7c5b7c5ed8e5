//! GraphQL multipart requests: operations with files.

use axum::extract::{FromRequest, Multipart, Request as HttpRequest};
use futures_util::TryStreamExt;
use serde_json::Value as Json;

use super::operation::discard_files;
use super::parameters::Parameters;
use super::{Server, body};
use crate::access::Viewer;
use crate::document::{Staged, UploadInfo};
use crate::error::{Error, Result};
use crate::graphql::Uploads;
use crate::json::{escape, without_byte_order_mark};

/// Reads a multipart request (GraphQL multipart request specification): `operations`, `map`, then the files.
///
/// All files are in the object store before the operation runs.
pub(super) async fn read(
    server: &Server,
    viewer: &Viewer,
    request: HttpRequest,
) -> Result<(Parameters, Uploads)> {
    let Some(actor) = &viewer.actor else {
        return Err(Error::Unauthenticated("Sign in before you upload files.".into()));
    };
    let _permit = server.transfer_quota.acquire(actor)?;
    let malformed = |error: axum::extract::multipart::MultipartError| {
        Error::invalid("", "MULTIPART", format!("The multipart body is malformed: {}", error.body_text()))
    };
    let prepare = |sent| body::one_chunk_at_a_time(body::end_at_shutdown(sent, &server.app));
    let mut parts = Multipart::from_request(request.map(prepare), &()).await.map_err(|rejection| {
        Error::invalid("", "MULTIPART", format!("The multipart body is malformed: {rejection}"))
    })?;
    let (mut operations, mut map) = (None::<Json>, None::<Vec<(String, Vec<String>)>>);
    let mut files: Vec<Staged> = Vec::new();
    let outcome = loop {
        let part = match parts.next_field().await {
            Ok(Some(part)) => part,
            Ok(None) => break Ok(()),
            Err(error) => break Err(malformed(error)),
        };
        let name = part.name().unwrap_or_default().to_owned();
        let read = match (name.as_str(), &mut operations, &map) {
            ("operations", None, _) => read_json(part, server).await.map(|json| operations = Some(json)),
            ("map", Some(_), None) => {
                read_json(part, server).await.and_then(|json| parse_map(&json)).map(|paths| map = Some(paths))
            }
            (file, Some(operations), Some(map)) => match map.iter().find(|(key, _)| key == file) {
                Some((_, paths)) if files.len() < server.app.config.limits.request_files => {
                    let paths = paths.clone();
                    stage(server, part).await.and_then(|staged| {
                        files.push(staged);
                        paths.iter().try_for_each(|path| insert_file(operations, path, files.len() - 1))
                    })
                }
                Some(_) => Err(Error::TooLarge(format!(
                    "A request may have at most {} files.",
                    server.app.config.limits.request_files
                ))),
                None => Err(Error::invalid(
                    "",
                    "MULTIPART",
                    "The map does not name this file. Add every file to the map.",
                )),
            },
            _ => Err(Error::invalid(
                "",
                "MULTIPART",
                "The parts must be operations, then map, then the files.",
            )),
        };
        if let Err(error) = read {
            break Err(error);
        }
    };
    let parameters = outcome.and_then(|()| {
        let missing = || Error::invalid("", "MULTIPART", "The request has no part operations.");
        Parameters::try_from(operations.ok_or_else(missing)?)
    });
    match parameters {
        Ok(parameters) => Ok((parameters, Uploads::new(files))),
        Err(error) => {
            discard_files(server, files).await;
            Err(error)
        }
    }
}

/// Reads a part that contains JSON.
async fn read_json(part: axum::extract::multipart::Field<'_>, server: &Server) -> Result<Json> {
    let limit = server.app.config.limits.request_bytes;
    let mut bytes = Vec::new();
    let mut part = part;
    while let Some(chunk) =
        part.chunk().await.map_err(|error| Error::invalid("", "MULTIPART", error.body_text()))?
    {
        if bytes.len() + chunk.len() > limit {
            return Err(Error::TooLarge(format!(
                "A request may have at most {limit} bytes besides its files."
            )));
        }
        bytes.extend_from_slice(&chunk);
    }
    serde_json::from_slice(without_byte_order_mark(&bytes))
        .map_err(|_| Error::invalid("", "JSON", "The parts operations and map must be JSON."))
}

/// Parses the part `map` into the paths of each file.
fn parse_map(map: &Json) -> Result<Vec<(String, Vec<String>)>> {
    let wrong = || {
        Error::invalid("/map", "SHAPE", "The map must give each file a list of paths such as variables.file.")
    };
    let entries = map.as_object().ok_or_else(wrong)?;
    let paths = |value: &Json| -> Result<Vec<String>> {
        let list = value.as_array().ok_or_else(wrong)?;
        list.iter().map(|path| path.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
    };
    entries.iter().map(|(key, value)| Ok((key.clone(), paths(value)?))).collect()
}

async fn stage(server: &Server, part: axum::extract::multipart::Field<'_>) -> Result<Staged> {
    let info = UploadInfo {
        name: part.file_name().map(str::to_owned),
        media_type: part.content_type().filter(|text| !text.is_empty()).map(str::to_owned),
    };
    let bytes = part.map_err(|error| error.body_text());
    Box::pin(server.app.jobs.documents.stage(info, Box::pin(bytes))).await
}

/// Replaces the null at a path of the map with a reference to a file.
fn insert_file(operations: &mut Json, path: &str, index: usize) -> Result<()> {
    let pointer: String = path.split('.').map(|key| format!("/{}", escape(key))).collect();
    match operations.pointer_mut(&pointer).filter(|_| pointer.starts_with("/variables/")) {
        Some(slot @ Json::Null) => {
            *slot = Json::String(Uploads::variable(index));
            Ok(())
        }
        _ => Err(Error::invalid(
            "/map",
            "PATH",
            format!("The value at {path} in operations must be null, to be replaced by a file."),
        )),
    }
}

#[cfg(test)]
mod tests {
    use axum::body::Body;
    use bytes::Bytes;
    use futures_util::StreamExt;
    use hyper::service::Service;
    use hyper_util::service::TowerToHyperService;
    use metrics_exporter_prometheus::PrometheusBuilder;
    use tokio::sync::mpsc;
    use tokio_stream::wrappers::ReceiverStream;

    use crate::app::App;
    use crate::app::tests::{actor, open};
    use crate::http::routes;
    use crate::http::tests::create_authorization;
    use crate::job::state::Mode;

    async fn count_objects(app: &App) -> usize {
        app.storage.list_older_than(app.clock.now() + chrono::TimeDelta::days(1)).count().await
    }

    #[tokio::test]
    async fn disconnect_during_an_upload_leaves_no_object() {
        let (app, _dir) = open(|_| ()).await;
        let key = create_authorization(&app, &actor(&app, "ada", Mode::Live).await).await;
        let routes =
            routes(app.clone(), PrometheusBuilder::new().build_recorder().handle()).expect("the routes");
        let routes = TowerToHyperService::new(routes);
        let (send, body) = mpsc::channel::<std::io::Result<Bytes>>(1);
        let part = |head: &str, text: &str| {
            format!("--x\r\ncontent-disposition: form-data; {head}\r\n\r\n{text}\r\n")
        };
        let operations = r#"{"query": "mutation ($f: Upload!) { uploadDocument(file: $f) { document { id } } }", "variables": {"f": null}}"#;
        let parts = [
            part("name=\"operations\"", operations),
            part("name=\"map\"", r#"{"0": ["variables.f"]}"#),
            part("name=\"0\"; filename=\"a.txt\"", "a"),
            "--x\r\n".to_owned(),
        ];
        send.send(Ok(parts.concat().into())).await.unwrap();
        let request = axum::http::Request::post("/graphql")
            .header("authorization", key)
            .header("graphql-require-preflight", "1")
            .header("content-type", "multipart/form-data; boundary=x")
            .body(Body::from_stream(ReceiverStream::new(body)))
            .unwrap();
        let is_stored = async {
            while count_objects(&app).await == 0 {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            response = routes.call(request) => panic!("{response:?}"),
            () = is_stored => {}
        }
        // hyper reports a disconnect as an error of the body.
        drop(send.send(Err(std::io::Error::other("disconnected"))).await);
        app.drain().await;
        assert_eq!(count_objects(&app).await, 0);
    }
}
