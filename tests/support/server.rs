//! A real S3 server on loopback that keeps its objects as files and checks every signature.
//!
//! An object is read whole: who measures downloads shares the processor with this server, which by
//! itself would read 4 KiB at a time, each on another thread.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    DeleteObjectInput, DeleteObjectOutput, GetObjectInput, GetObjectOutput, HeadObjectInput,
    HeadObjectOutput, ListObjectsV2Input, ListObjectsV2Output, PutObjectInput, PutObjectOutput,
    StreamingBlob, UploadPartInput, UploadPartOutput,
};
use s3s::service::{S3Service, S3ServiceBuilder};
use s3s::{S3, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::sync::oneshot;

pub(crate) const BUCKET: &str = "shelf";
pub(crate) const ACCESS_KEY: &str = "AKIDKACHETEST";
pub(crate) const SECRET_KEY: &str = "a-secret-that-must-not-be-seen";

/// A server that runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) port: u16,
    /// Where the bucket's objects are, as files of their names.
    pub(crate) objects: PathBuf,
    requests: Arc<Mutex<Vec<String>>>,
    _stop: oneshot::Sender<Infallible>,
}

impl Server {
    /// Serves a bucket below a directory.
    pub(crate) fn start(directory: PathBuf) -> Self {
        let objects = directory.join(BUCKET);
        fs::create_dir_all(&objects).expect("a bucket can be made");
        let files = FileSystem::new(directory.clone()).expect("the directory can be served");
        let mut builder = S3ServiceBuilder::new(Shelves { directory, files });
        builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let (service, requests) = (builder.build(), Arc::default());
        let (stop, stopped) = oneshot::channel();
        let (bound, port) = std::sync::mpsc::channel();
        let log = Arc::clone(&requests);
        std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
            runtime.expect("a runtime").block_on(async {
                let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a free port");
                bound.send(listener.local_addr().expect("bound").port()).expect("waited for");
                tokio::select! {
                    () = serve(listener, service, log) => {}
                    // Its other end was dropped.
                    _ = stopped => {}
                }
            });
        });
        Self { port: port.recv().expect("it starts"), objects, requests, _stop: stop }
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Methods and paths of the requests since the last call.
    pub(crate) fn take_requests(&self) -> Vec<String> {
        std::mem::take(&mut self.requests.lock().expect("not poisoned"))
    }
}

async fn serve(listener: TcpListener, service: S3Service, log: Arc<Mutex<Vec<String>>>) {
    loop {
        let Ok((socket, _)) = listener.accept().await else { continue };
        let (service, log) = (service.clone(), Arc::clone(&log));
        let answer = service_fn(move |request: hyper::Request<hyper::body::Incoming>| {
            let line = format!("{} {}", request.method(), request.uri());
            log.lock().expect("not poisoned").push(line);
            let (service, request) = (service.clone(), request.map(s3s::Body::from));
            async move { service.call(request).await }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .serve_connection(TokioIo::new(socket), answer);
        tokio::spawn(connection);
    }
}

/// Buckets as directories.
struct Shelves {
    directory: PathBuf,
    files: FileSystem,
}

type Answering<'a, T> = Pin<Box<dyn Future<Output = S3Result<S3Response<T>>> + Send + 'a>>;

/// What is left to the library's own server.
macro_rules! passed_on {
    ($($operation:ident: $input:ident, $output:ident;)*) => {$(
        fn $operation<'s, 'a>(&'s self, request: S3Request<$input>) -> Answering<'a, $output>
        where
            's: 'a,
            Self: 'a,
        {
            self.files.$operation(request)
        }
    )*};
}

impl S3 for Shelves {
    fn get_object<'s, 'a>(
        &'s self,
        request: S3Request<GetObjectInput>,
    ) -> Answering<'a, GetObjectOutput>
    where
        's: 'a,
        Self: 'a,
    {
        let GetObjectInput { bucket, key, .. } = &request.input;
        let Ok(object) = fs::read(self.directory.join(bucket).join(key)) else {
            return self.files.get_object(request);
        };
        let answer = GetObjectOutput {
            content_length: i64::try_from(object.len()).ok(),
            body: Some(StreamingBlob::from(s3s::Body::from(object))),
            ..GetObjectOutput::default()
        };
        Box::pin(async { Ok(S3Response::new(answer)) })
    }

    passed_on! {
        abort_multipart_upload: AbortMultipartUploadInput, AbortMultipartUploadOutput;
        complete_multipart_upload: CompleteMultipartUploadInput, CompleteMultipartUploadOutput;
        create_multipart_upload: CreateMultipartUploadInput, CreateMultipartUploadOutput;
        delete_object: DeleteObjectInput, DeleteObjectOutput;
        head_object: HeadObjectInput, HeadObjectOutput;
        list_objects_v2: ListObjectsV2Input, ListObjectsV2Output;
        put_object: PutObjectInput, PutObjectOutput;
        upload_part: UploadPartInput, UploadPartOutput;
    }
}
