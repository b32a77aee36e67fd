//! Objects in a bucket, through plain GET, PUT, HEAD, `ListObjectsV2`, DELETE and multipart uploads.
//!
//! Servers other than Amazon's get path-style requests, and no checksums that they did not ask for:
//! several do not take them. Names are resolved here and not by the C library, which cannot do it in
//! a static executable.

use std::error::Error;
use std::io::{self, Read};
use std::path::Path;
use std::pin::Pin;
use std::time::Duration;

use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::provider::error::CredentialsError;
use aws_sdk_s3::Client;
use aws_sdk_s3::config::retry::RetryConfig;
use aws_sdk_s3::config::timeout::TimeoutConfig;
use aws_sdk_s3::config::{
    Builder, Credentials, RequestChecksumCalculation, ResponseChecksumValidation,
    RuntimeComponents, SharedHttpClient,
};
use aws_sdk_s3::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_s3::operation::get_object::GetObjectOutput;
use aws_sdk_s3::primitives::{ByteStream, Length};
use aws_sdk_s3::types::{CompletedMultipartUpload, CompletedPart};
use aws_smithy_dns::HickoryDnsResolver;
use aws_smithy_http_client::proxy::ProxyConfig;
use aws_smithy_http_client::{Connector, tls};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::runtime::Handle;
use tokio::time::{Instant, timeout_at};

use super::backend::Content;
use super::{RemoteError, unreachable};
use crate::config::Remote as Settings;
use crate::env;

/// Attempts at one request, pauses of random length between them.
const ATTEMPTS_MAX: u32 = 3;
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const PAUSE_MAX: Duration = Duration::from_secs(2);
const CONNECT_MAX: Duration = Duration::from_secs(3);
/// How long an attempt may take besides moving bytes.
const ANSWER_MAX: Duration = Duration::from_secs(10);
/// A transfer slower than this is given up.
const BYTES_PER_SECOND_MIN: u64 = 100_000;
/// Objects larger than this are uploaded in parts of this size.
const PART_BYTES: u64 = 16 << 20;

/// A part of a bucket.
#[derive(Clone, Debug)]
pub(super) struct Bucket {
    client: Client,
    name: String,
    /// In front of all names; ends in a slash.
    prefix: String,
}

impl Bucket {
    /// Makes no request: credentials are looked for when they are needed.
    pub(super) async fn open(settings: &Settings, bucket: &str, prefix: &str) -> Self {
        let http_client = http_client(Roots::System);
        let mut loader = aws_config::defaults(BehaviorVersion::latest())
            .region(Region::new(settings.region.clone()))
            .http_client(http_client);
        if let Some(profile) = &settings.profile {
            loader = loader.profile_name(profile);
        }
        if let (Some(access), Some(secret)) = (&settings.access_key, &settings.secret_key) {
            let keys = Credentials::new(access, secret, None, None, "kache configuration");
            loader = loader.credentials_provider(keys);
        }
        let client = Client::from_conf(client_config(&loader.load().await, settings));
        Self { client, name: bucket.to_owned(), prefix: format!("{prefix}/") }
    }

    fn key(&self, name: &str) -> String {
        format!("{}{name}", self.prefix)
    }

    pub(super) async fn get(&self, name: &str) -> Result<Option<Stream>, RemoteError> {
        let request = self.client.get_object().bucket(&self.name).key(self.key(name));
        let answer = request.send().await;
        Ok(found("get", name, answer)?.map(Stream::new))
    }

    pub(super) async fn exists(&self, name: &str) -> Result<bool, RemoteError> {
        let request = self.client.head_object().bucket(&self.name).key(self.key(name));
        let answer = request.send().await;
        Ok(found("look at", name, answer)?.is_some())
    }

    pub(super) async fn put(&self, name: &str, content: Content) -> Result<(), RemoteError> {
        let (body, bytes) = match content {
            Content::Bytes(bytes) => {
                let length = bytes.len() as u64;
                (ByteStream::from(bytes), length)
            }
            Content::File(path) => {
                let metadata = tokio::fs::metadata(&path).await;
                let bytes = metadata.map_err(super::LocalError::from)?.len();
                if bytes > PART_BYTES {
                    return self.put_in_parts(name, &path, bytes).await;
                }
                (part(&path, 0, bytes).await?, bytes)
            }
        };
        let request = self.client.put_object().bucket(&self.name).key(self.key(name));
        let request = request.content_length(bytes.cast_signed()).body(body);
        let answer = request.customize().config_override(lasting(bytes)).send().await;
        answer.map(drop).map_err(|error| failed("put", name, &error))
    }

    async fn put_in_parts(&self, name: &str, path: &Path, bytes: u64) -> Result<(), RemoteError> {
        let request = self.client.create_multipart_upload();
        let request = request.bucket(&self.name).key(self.key(name));
        let answer = request.send().await;
        let upload = answer.map_err(|error| failed("begin to put", name, &error))?;
        let upload = upload.upload_id().unwrap_or_default();
        let put = self.put_parts(name, path, bytes, upload).await;
        if put.is_err() {
            let request = self.client.abort_multipart_upload();
            let request = request.bucket(&self.name).key(self.key(name)).upload_id(upload);
            let answer = request.send().await;
            if let Err(error) = answer {
                crate::log::warn!("{}", failed("give up to put", name, &error));
            }
        }
        put
    }

    async fn put_parts(
        &self,
        name: &str,
        path: &Path,
        bytes: u64,
        upload: &str,
    ) -> Result<(), RemoteError> {
        let mut parts = CompletedMultipartUpload::builder();
        let starts = (0..bytes.div_ceil(PART_BYTES)).map(|index| index * PART_BYTES);
        for (number, start) in (1..).zip(starts) {
            let length = PART_BYTES.min(bytes - start);
            let request = self.client.upload_part().bucket(&self.name).key(self.key(name));
            let request = request.upload_id(upload).part_number(number);
            let request = request.content_length(length.cast_signed());
            let request = request.body(part(path, start, length).await?);
            let answer = request.customize().config_override(lasting(length)).send().await;
            let answer = answer.map_err(|error| failed("put a part of", name, &error))?;
            let tag = answer.e_tag().unwrap_or_default();
            parts = parts.parts(CompletedPart::builder().part_number(number).e_tag(tag).build());
        }
        let request = self.client.complete_multipart_upload().bucket(&self.name);
        let request = request.key(self.key(name)).upload_id(upload);
        let request = request.multipart_upload(parts.build());
        let answer = request.customize().config_override(lasting(bytes)).send().await;
        answer.map(drop).map_err(|error| failed("put", name, &error))
    }

    pub(super) async fn list(&self, prefix: &str) -> Result<Vec<(String, u64)>, RemoteError> {
        let mut names = Vec::new();
        let mut next = None;
        loop {
            let request = self.client.list_objects_v2().bucket(&self.name);
            let request = request.prefix(self.key(prefix)).set_continuation_token(next);
            let answer = request.send().await;
            let answer = answer.map_err(|error| failed("list", prefix, &error))?;
            names.extend(answer.contents().iter().filter_map(|object| {
                let name = object.key()?.strip_prefix(&self.prefix)?.to_owned();
                Some((name, u64::try_from(object.size().unwrap_or(0)).unwrap_or(0)))
            }));
            next = answer.next_continuation_token().map(str::to_owned);
            if next.is_none() {
                return Ok(names);
            }
        }
    }

    pub(super) async fn remove(&self, name: &str) -> Result<(), RemoteError> {
        let request = self.client.delete_object().bucket(&self.name).key(self.key(name));
        let answer = request.send().await;
        found("remove", name, answer).map(drop)
    }
}

fn client_config(shared: &SdkConfig, settings: &Settings) -> aws_sdk_s3::Config {
    let retries = RetryConfig::standard()
        .with_max_attempts(ATTEMPTS_MAX)
        .with_initial_backoff(FIRST_PAUSE)
        .with_max_backoff(PAUSE_MAX);
    let mut config = Builder::from(shared).retry_config(retries).timeout_config(timeouts(0));
    if let Some(endpoint) = &settings.endpoint {
        config = config
            .endpoint_url(endpoint)
            .force_path_style(true)
            .request_checksum_calculation(RequestChecksumCalculation::WhenRequired)
            .response_checksum_validation(ResponseChecksumValidation::WhenRequired);
        if endpoint.starts_with("http://") && !env::names_proxy() {
            // Credentials may still have to be asked for elsewhere.
            config = config.http_client(http_client(Roots::None));
        }
    }
    config.build()
}

/// Deadlines for an attempt that moves so many bytes before its answer begins.
fn timeouts(bytes: u64) -> TimeoutConfig {
    let builder = TimeoutConfig::builder().connect_timeout(CONNECT_MAX);
    builder.operation_attempt_timeout(moving(bytes)).build()
}

/// How long moving so many bytes may take.
fn moving(bytes: u64) -> Duration {
    ANSWER_MAX + Duration::from_secs(bytes / BYTES_PER_SECOND_MIN)
}

fn lasting(bytes: u64) -> Builder {
    Builder::new().timeout_config(timeouts(bytes))
}

async fn part(path: &Path, start: u64, bytes: u64) -> Result<ByteStream, RemoteError> {
    let part = ByteStream::read_from().path(path).offset(start).length(Length::Exact(bytes));
    part.build().await.map_err(|error| super::LocalError::Io(io::Error::other(error)).into())
}

/// Whose certificates are believed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Roots {
    /// The system's: some hundred files, which are read before the first request.
    System,
    /// Nobody's: there will be no certificates.
    None,
}

/// Goes through the proxy that the environment names (`HTTPS_PROXY` and its kin), if any.
fn http_client(roots: Roots) -> SharedHttpClient {
    aws_smithy_http_client::Builder::new().build_with_connector_fn(move |settings, components| {
        let store = tls::TrustStore::empty().with_native_roots(roots == Roots::System);
        let context = tls::TlsContext::builder().with_trust_store(store).build();
        let mut builder = Connector::builder()
            .tls_provider(tls::Provider::Rustls(tls::rustls_provider::CryptoMode::Ring))
            .tls_context(context.expect("a store without certificates of its own"))
            .proxy_config(ProxyConfig::from_env());
        builder.set_connector_settings(settings.cloned());
        builder.set_sleep_impl(components.and_then(RuntimeComponents::sleep_impl));
        if cfg!(target_os = "linux") {
            builder.build_with_resolver(resolver())
        } else {
            builder.build()
        }
    })
}

/// Name servers as the system has them; without any, the hosts file is looked at all the same.
fn resolver() -> HickoryDnsResolver {
    let builder = HickoryDnsResolver::builder();
    if Path::new("/etc/resolv.conf").exists() {
        builder.build()
    } else {
        builder.nameservers(&[std::net::Ipv4Addr::LOCALHOST.into()], 53).build()
    }
}

/// The bytes of an object that is being downloaded, for a thread that may wait. It may take longer
/// the more has arrived: what a server says of the length buys it no time.
pub(super) struct Stream {
    reader: Pin<Box<dyn AsyncRead + Send>>,
    runtime: Handle,
    /// `None` until somebody reads: the thread that will may have to be waited for.
    began: Option<Instant>,
    arrived_bytes: u64,
    failure: Option<String>,
}

impl Stream {
    fn new(object: GetObjectOutput) -> Self {
        Self {
            reader: Box::pin(object.body.into_async_read()),
            runtime: Handle::current(),
            began: None,
            arrived_bytes: 0,
            failure: None,
        }
    }

    /// Why the transfer broke off, if it did.
    pub(super) fn failure(&mut self) -> Option<String> {
        self.failure.take()
    }
}

impl Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let began = *self.began.get_or_insert_with(Instant::now);
        let deadline = began + moving(self.arrived_bytes);
        let reading = async { timeout_at(deadline, self.reader.read(buffer)).await };
        let read = match self.runtime.block_on(reading) {
            Ok(read) => read,
            Err(_) => Err(io::Error::new(io::ErrorKind::TimedOut, "the transfer is too slow")),
        };
        let read = read.inspect(|count| self.arrived_bytes += *count as u64);
        read.inspect_err(|error| self.failure = Some(causes(error)))
    }
}

/// An answer, or `None` if it is that there is no such object.
fn found<T, E>(
    operation: &'static str,
    name: &str,
    answer: Result<T, SdkError<E>>,
) -> Result<Option<T>, RemoteError>
where
    E: ProvideErrorMetadata + Error + 'static,
{
    match answer {
        Ok(answer) => Ok(Some(answer)),
        Err(error) if status(&error) == Some(404) && code(&error) != Some("NoSuchBucket") => {
            Ok(None)
        }
        Err(error) => Err(failed(operation, name, &error)),
    }
}

fn status<E>(error: &SdkError<E>) -> Option<u16> {
    error.raw_response().map(|response| response.status().as_u16())
}

fn code<E: ProvideErrorMetadata>(error: &SdkError<E>) -> Option<&str> {
    error.as_service_error().and_then(ProvideErrorMetadata::code)
}

fn failed<E>(operation: &'static str, name: &str, error: &SdkError<E>) -> RemoteError
where
    E: ProvideErrorMetadata + Error + 'static,
{
    let told = error.as_service_error().and_then(ProvideErrorMetadata::message);
    let reason = match (status(error), code(error), told) {
        (Some(status), Some(code), Some(told)) => format!("{status} {code}: {told}"),
        (Some(status), code, _) => format!("{status} {}", code.unwrap_or_default()),
        (None, ..) => causes(error),
    };
    let answered = status(error).is_some_and(|status| status < 500 && status != 429);
    let sent = match error {
        SdkError::ConstructionFailure(_) => false,
        SdkError::DispatchFailure(failure) => !failure.is_user() && !is_about_credentials(error),
        _ => true,
    };
    if answered || !sent {
        return RemoteError::Refused { operation, name: name.to_owned(), reason };
    }
    unreachable(operation, name, reason)
}

/// Whether there were none to send a request with.
fn is_about_credentials(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error.is::<CredentialsError>() {
            return true;
        }
        cause = error.source();
    }
    false
}

/// An error and all that led to it.
fn causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}
