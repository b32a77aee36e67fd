//! The bucket of a real server, seen from both of its sides.

use std::fs;

use kache::config::{Config, RemoteKind};
use kache::remote::RemoteError;
use store_format::OutputRole;

use crate::objects::{Pair, runtime};
use crate::server::{ACCESS_KEY, BUCKET, SECRET_KEY, Server};

fn served() -> (Pair, Server) {
    let mut pair = Pair::new();
    let server = Server::start(pair.path("server"));
    let remote = &mut pair.config.remote;
    remote.kind = RemoteKind::S3;
    remote.bucket = Some(BUCKET.into());
    remote.endpoint = Some(server.endpoint());
    remote.access_key = Some(ACCESS_KEY.into());
    remote.secret_key = Some(SECRET_KEY.into());
    (pair, server)
}

fn with(pair: &mut Pair, change: impl FnOnce(&mut Config)) {
    change(&mut pair.config);
}

#[test]
fn a_result_travels_through_a_bucket() {
    let (pair, server) = served();
    pair.push(&[("libstone.rlib", OutputRole::Shared, 0o644, b"stone")]);
    assert_eq!(server.take_requests().len(), 4, "look, put, get the manifests, put them");
    let result = pair.pull().unwrap().expect("it is there");
    assert_eq!(result.outputs.len(), 1);
    assert_eq!(server.take_requests().len(), 1, "one request restores a unit");
    assert!(Pair::object_below(&server.objects).exists());
}

#[test]
fn large_objects_are_uploaded_in_parts() {
    let (pair, server) = served();
    let mut noise = vec![0; 40 << 20];
    blake3::Hasher::new().finalize_xof().fill(&mut noise);
    pair.push(&[("libstone.rlib", OutputRole::Shared, 0o644, &noise)]);
    let parts = server.take_requests();
    assert_eq!(parts.iter().filter(|request| request.contains("partNumber")).count(), 3);
    assert!(pair.pull().unwrap().is_some());
}

#[test]
fn names_of_hosts_are_resolved() {
    let (mut pair, server) = served();
    let endpoint = format!("http://localhost:{}", server.port);
    with(&mut pair, |config| config.remote.endpoint = Some(endpoint));
    assert_eq!(pair.pull().unwrap(), None);
    assert_eq!(server.take_requests().len(), 1);
}

#[test]
fn a_round_trip_shows_whether_a_bucket_can_be_used() {
    let (mut pair, server) = served();
    let check = |pair: &Pair| runtime().block_on(async { pair.remote().await.check().await });
    check(&pair).unwrap();
    assert!(fs::read_dir(server.objects.join("artifacts/v1/trials")).unwrap().next().is_none());
    server.take_requests();
    with(&mut pair, |config| config.remote_readonly = true);
    check(&pair).unwrap();
    assert!(server.take_requests().iter().all(|request| request.starts_with("GET ")));
    with(&mut pair, |config| config.remote.secret_key = Some("another".into()));
    let refused = check(&pair).unwrap_err();
    assert!(refused.is_definite(), "{refused}");
    assert!(refused.to_string().contains("403 SignatureDoesNotMatch"), "{refused}");
    with(&mut pair, |config| config.remote_readonly = false);
    with(&mut pair, |config| config.remote.endpoint = Some("http://127.0.0.1:1".into()));
    let unreachable = check(&pair).unwrap_err();
    assert!(matches!(unreachable, RemoteError::Unreachable { .. }), "{unreachable}");
}
