//! How the bucket is reached, and as whom: proxies of the environment, and credentials from where the
//! tools of AWS find them. Each is tried by a round trip of the executable.

use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};

use crate::server::{ACCESS_KEY, BUCKET, SECRET_KEY, Server};
use crate::support::{Cargo, TestSpace};

/// What is said of credentials that came from a server: nobody takes them for expired.
const EXPIRES: &str = "2999-01-01T00:00:00Z";

/// A round trip to the bucket at an endpoint, without any credentials yet.
fn trip<'a>(space: &'a TestSpace, endpoint: &str) -> Cargo<'a> {
    std::fs::create_dir_all(space.path("home/.aws")).unwrap();
    space
        .cargo("home", ["doctor"])
        .by_kache()
        .variable("KACHE_S3_BUCKET", BUCKET)
        .variable("KACHE_S3_ENDPOINT", endpoint)
        .variable("AWS_EC2_METADATA_DISABLED", "true")
}

fn with_keys(trip: Cargo<'_>) -> Cargo<'_> {
    trip.variable("KACHE_S3_ACCESS_KEY", ACCESS_KEY).variable("KACHE_S3_SECRET_KEY", SECRET_KEY)
}

#[track_caller]
fn assert_done(trip: &Cargo<'_>) {
    let text = trip.run().text();
    assert!(text.contains(": written, read and removed in "), "{text}");
}

/// Answers each connection at a port of its own; what `serve` hears goes to the receiver.
fn listen(serve: impl Fn(TcpStream, &Sender<String>) + Send + 'static) -> (u16, Receiver<String>) {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, heard) = channel();
    std::thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            serve(connection, &sender);
        }
    });
    (port, heard)
}

/// The head of a request.
fn head(connection: &mut TcpStream) -> String {
    let mut text = Vec::new();
    let mut byte = [0];
    while !text.ends_with(b"\r\n\r\n") && connection.read(&mut byte).is_ok_and(|n| n == 1) {
        text.push(byte[0]);
    }
    String::from_utf8(text).unwrap()
}

/// A request that is a text.
fn request(connection: &mut TcpStream) -> String {
    let head = head(connection);
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-length").then(|| value.parse().unwrap())
    });
    let mut body = vec![0; length.unwrap_or(0)];
    connection.read_exact(&mut body).unwrap();
    head + &String::from_utf8(body).unwrap()
}

/// A proxy in front of a server, which takes requests with whole addresses as they are.
fn proxy(server: u16) -> (u16, Receiver<String>) {
    listen(move |mut client, heard| {
        let head = head(&mut client);
        let mut server = TcpStream::connect(("127.0.0.1", server)).unwrap();
        server.write_all(head.as_bytes()).unwrap();
        heard.send(head).unwrap();
        for (mut from, mut to) in
            [(client.try_clone().unwrap(), server.try_clone().unwrap()), (server, client)]
        {
            std::thread::spawn(move || {
                // Either end may be gone.
                drop(std::io::copy(&mut from, &mut to));
                drop(to.shutdown(Shutdown::Write));
            });
        }
    })
}

#[test]
fn a_proxy_of_the_environment_is_gone_through() {
    let space = TestSpace::new();
    let server = Server::start(space.path("server"));
    let (port, heard) = proxy(server.port);
    let proxied = with_keys(trip(&space, "http://bucket.invalid"))
        .variable("HTTP_PROXY", format!("127.0.0.1:{port}"));
    assert_done(&proxied);
    let first = heard.try_recv().expect("the proxy was asked");
    assert!(first.starts_with("PUT http://bucket.invalid/shelf/artifacts/v1/trials/"), "{first}");
}

#[test]
fn a_server_that_needs_no_proxy_is_reached_without_it() {
    let space = TestSpace::new();
    let server = Server::start(space.path("server"));
    let (port, heard) = proxy(server.port);
    for (name, value) in [("NO_PROXY", "127.0.0.1"), ("no_proxy", "localhost,127.0.0.0/8")] {
        let direct = with_keys(trip(&space, &server.endpoint()))
            .variable("HTTP_PROXY", format!("http://127.0.0.1:{port}"))
            .variable(name, value);
        assert_done(&direct);
    }
    assert!(heard.try_recv().is_err(), "the proxy was not asked");
}

#[test]
fn an_encrypted_connection_goes_through_the_proxy_as_it_is() {
    let space = TestSpace::new();
    let (port, heard) = listen(|mut client, heard| {
        let head = head(&mut client);
        client.write_all(b"HTTP/1.1 200 OK\r\n\r\n").unwrap();
        let mut first = [0];
        client.read_exact(&mut first).unwrap();
        // It may have given up meanwhile.
        drop(heard.send(format!("{head}{:#x}", first[0])));
    });
    let trip = with_keys(trip(&space, "https://bucket.invalid"))
        .variable("https_proxy", format!("http://user:word@127.0.0.1:{port}"));
    let text = trip.run().text();
    assert!(!text.contains("written, read and removed"), "{text}");
    let heard = heard.try_recv().expect("the proxy was asked");
    assert!(heard.starts_with("CONNECT bucket.invalid:443 HTTP/1.1\r\n"), "{heard}");
    assert!(heard.contains("Basic dXNlcjp3b3Jk\r\n"), "{heard}");
    assert!(heard.ends_with("\r\n\r\n0x16"), "a handshake begins: {heard}");
}

/// Says who somebody is: the services of AWS that hand out credentials.
fn authority() -> (u16, Receiver<String>) {
    listen(|mut client, heard| {
        let request = request(&mut client);
        let action = ["AssumeRoleWithWebIdentity", "AssumeRole"].into_iter().find(|action| {
            let mut fields = request.lines().last().unwrap_or_default().split('&');
            fields.any(|field| field.strip_prefix("Action=") == Some(action))
        });
        let text = match action {
            Some(action) => format!(
                "<{action}Response xmlns=\"https://sts.amazonaws.com/doc/2011-06-15/\">\
                 <{action}Result><AssumedRoleUser><Arn>arn:aws:sts::1:assumed-role/r/s</Arn>\
                 <AssumedRoleId>R:s</AssumedRoleId></AssumedRoleUser><Credentials>\
                 <AccessKeyId>{ACCESS_KEY}</AccessKeyId>\
                 <SecretAccessKey>{SECRET_KEY}</SecretAccessKey>\
                 <SessionToken>token</SessionToken><Expiration>{EXPIRES}</Expiration>\
                 </Credentials></{action}Result></{action}Response>"
            ),
            None => format!(
                "{{\"roleCredentials\":{{\"accessKeyId\":\"{ACCESS_KEY}\",\
                 \"secretAccessKey\":\"{SECRET_KEY}\",\"sessionToken\":\"token\",\
                 \"expiration\":32472144000000}}}}"
            ),
        };
        let length = text.len();
        heard.send(request).unwrap();
        write!(
            client,
            "HTTP/1.1 200 OK\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{text}"
        )
        .unwrap();
    })
}

#[test]
fn a_profile_has_keys_in_the_file_of_credentials() {
    let space = TestSpace::new();
    let server = Server::start(space.path("server"));
    let keys = |secret: &str| {
        format!("[builds]\naws_access_key_id = {ACCESS_KEY}\naws_secret_access_key = {secret}\n")
    };
    space.write("home/.aws/credentials", keys(SECRET_KEY));
    let trip = || trip(&space, &server.endpoint()).variable("KACHE_S3_PROFILE", "builds");
    assert_done(&trip());
    let elsewhere = space.write("elsewhere", keys("another"));
    let text = trip().variable("AWS_SHARED_CREDENTIALS_FILE", elsewhere).run().text();
    assert!(text.contains("403 SignatureDoesNotMatch"), "{text}");
}

#[test]
fn a_profile_has_keys_in_the_file_of_configuration() {
    let space = TestSpace::new();
    let server = Server::start(space.path("server"));
    let file = space.write(
        "elsewhere",
        format!(
            "[profile builds]\naws_access_key_id = {ACCESS_KEY}\n\
             aws_secret_access_key = {SECRET_KEY}\n"
        ),
    );
    let trip = trip(&space, &server.endpoint()).variable("AWS_CONFIG_FILE", file);
    assert_done(&trip.variable("AWS_PROFILE", "builds"));
}

#[test]
fn a_process_tells_the_keys_of_a_profile() {
    let space = TestSpace::new();
    let server = Server::start(space.path("server"));
    let program = space.write_program(
        "teller",
        format!(
            "#!/bin/sh\necho '{{\"Version\": 1, \"AccessKeyId\": \"{ACCESS_KEY}\", \
             \"SecretAccessKey\": \"{SECRET_KEY}\"}}'\n"
        ),
    );
    let profile = format!("[profile builds]\ncredential_process = {}\n", program.display());
    space.write("home/.aws/config", profile);
    assert_done(&trip(&space, &server.endpoint()).variable("KACHE_S3_PROFILE", "builds"));
}

#[test]
fn a_role_is_assumed_with_the_keys_of_another_profile() {
    let space = TestSpace::new();
    let server = Server::start(space.path("server"));
    let (port, heard) = authority();
    space.write(
        "home/.aws/config",
        "[profile person]\naws_access_key_id = AKIDPERSON\naws_secret_access_key = word\n\
         [profile builds]\nrole_arn = arn:aws:iam::1:role/builder\nsource_profile = person\n",
    );
    let trip = trip(&space, &server.endpoint()).variable("KACHE_S3_PROFILE", "builds");
    assert_done(&trip.variable("AWS_ENDPOINT_URL_STS", format!("http://127.0.0.1:{port}")));
    let asked = heard.try_recv().expect("who may assume the role is asked");
    assert!(asked.contains("AKIDPERSON/"), "signed by the person: {asked}");
    assert!(asked.contains("role%2Fbuilder"), "{asked}");
}

/// As runners of GitHub and pods of Kubernetes have it.
#[test]
fn a_role_is_assumed_with_a_token_of_the_web() {
    let space = TestSpace::new();
    let server = Server::start(space.path("server"));
    let (port, heard) = authority();
    let token = space.write("token", "token-of-the-runner");
    let trip = trip(&space, &server.endpoint())
        .variable("AWS_WEB_IDENTITY_TOKEN_FILE", token)
        .variable("AWS_ROLE_ARN", "arn:aws:iam::1:role/builder")
        .variable("AWS_ENDPOINT_URL_STS", format!("http://127.0.0.1:{port}"));
    assert_done(&trip);
    let asked = heard.try_recv().expect("who may assume the role is asked");
    assert!(asked.contains("WebIdentityToken=token-of-the-runner"), "{asked}");
}

#[test]
fn who_has_signed_on_is_given_the_keys_of_a_role() {
    let space = TestSpace::new();
    let server = Server::start(space.path("server"));
    let (port, heard) = authority();
    space.write(
        "home/.aws/config",
        "[sso-session team]\nsso_region = eu-central-1\nsso_start_url = https://team.invalid\n\
         [profile builds]\nsso_session = team\nsso_account_id = 123456789012\n\
         sso_role_name = builder\n",
    );
    // Named by the SHA-1 of the session's name.
    space.write(
        "home/.aws/sso/cache/d25187dc137f35c88bc80ec8c3ffbdb17b5eb873.json",
        format!(
            "{{\"accessToken\": \"signed-on\", \"expiresAt\": \"{EXPIRES}\", \
             \"region\": \"eu-central-1\", \"startUrl\": \"https://team.invalid\"}}"
        ),
    );
    let trip = trip(&space, &server.endpoint()).variable("KACHE_S3_PROFILE", "builds");
    assert_done(&trip.variable("AWS_ENDPOINT_URL_SSO", format!("http://127.0.0.1:{port}")));
    let asked = heard.try_recv().expect("the portal is asked");
    assert!(asked.starts_with("GET /federation/credentials?"), "{asked}");
    assert!(asked.contains("signed-on") && asked.contains("role_name=builder"), "{asked}");
}
