//! Objects by plain requests, which nothing is made of: what wire, server and client take, whoever
//! asks.

use std::sync::Arc;
use std::time::{Duration, Instant};

use aws_sdk_s3::Client;
use aws_sdk_s3::config::{BehaviorVersion, Config, Credentials, Region};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

use crate::server::{ACCESS_KEY, BUCKET, SECRET_KEY};

/// As many as kache has by default.
const REQUESTS_AT_A_TIME: usize = 16;

/// How long all of the objects take together, from no connection to the last byte.
pub(crate) fn download(endpoint: &str, names: &[String]) -> Duration {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    runtime.expect("a runtime").block_on(async {
        let began = Instant::now();
        let client = client(endpoint);
        let permits = Arc::new(Semaphore::new(REQUESTS_AT_A_TIME));
        let mut running = JoinSet::new();
        for name in names.iter().cloned() {
            let (client, permits) = (client.clone(), Arc::clone(&permits));
            running.spawn(async move {
                let _permit = permits.acquire().await.expect("never closed");
                let object = client.get_object().bucket(BUCKET).key(name).send().await;
                let mut body = object.expect("the object is there").body;
                while body.try_next().await.expect("the object arrives").is_some() {}
            });
        }
        running.join_all().await;
        began.elapsed()
    })
}

fn client(endpoint: &str) -> Client {
    let config = Config::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("us-east-1"))
        .endpoint_url(endpoint)
        .force_path_style(true)
        .credentials_provider(Credentials::new(ACCESS_KEY, SECRET_KEY, None, None, "benchmark"))
        .http_client(aws_smithy_http_client::Builder::new().build_http());
    Client::from_conf(config.build())
}
