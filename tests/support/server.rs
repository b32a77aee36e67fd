//! A real S3 server on loopback that keeps its objects as files and checks every signature.

use std::convert::Infallible;
use std::fs;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::{S3Service, S3ServiceBuilder};
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
        let service = s3s_fs::FileSystem::new(directory).expect("the directory can be served");
        let mut builder = S3ServiceBuilder::new(service);
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
