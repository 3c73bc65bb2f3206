//! Goal: no server can hold a fetch up, fill the memory, or lead it to where it must not go. Method: a server on this
//! machine that misbehaves in each way, by path.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

use super::*;

const PICTURE: &[u8] = b"pretend that these bytes are a picture";

/// A server, and how often each path was asked for.
struct Server {
    address: SocketAddr,
    asked: Arc<Mutex<HashMap<String, u32>>>,
    /// Most requests under way at once.
    crowd: Arc<AtomicUsize>,
}

impl Server {
    fn start() -> Server {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let address = listener.local_addr().unwrap();
        let (asked, crowd): (Arc<Mutex<HashMap<String, u32>>>, Arc<AtomicUsize>) = Default::default();
        let (counts, most, now) = (asked.clone(), crowd.clone(), Arc::new(AtomicUsize::new(0)));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let (counts, most, now) = (counts.clone(), most.clone(), now.clone());
                std::thread::spawn(move || {
                    most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                    // Long enough that others come in, were they let; and over before the answer is.
                    std::thread::sleep(Duration::from_millis(30));
                    now.fetch_sub(1, Ordering::SeqCst);
                    let _ = serve(stream, &counts);
                });
            }
        });
        Server { address, asked, crowd }
    }

    fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    fn asked(&self, path: &str) -> u32 {
        self.asked.lock().get(path).copied().unwrap_or(0)
    }
}

fn serve(stream: TcpStream, counts: &Mutex<HashMap<String, u32>>) -> std::io::Result<()> {
    let mut reader = BufReader::new(stream.try_clone()?);
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let path = line.split(' ').nth(1).unwrap_or_default().to_owned();
    while reader.read_line(&mut line)? > 2 {}
    let asked = *counts.lock().entry(path.clone()).and_modify(|count| *count += 1).or_insert(1);
    answer(stream, &path, asked)
}

fn answer(mut to: TcpStream, path: &str, asked: u32) -> std::io::Result<()> {
    let port = to.local_addr()?.port();
    let whole = |kind: &str, body: &[u8]| {
        let head = format!("HTTP/1.1 200 OK\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n", body.len());
        [format!("{head}Connection: close\r\n\r\n").as_bytes(), body].concat()
    };
    let status = |code: u32, more: &str| {
        format!("HTTP/1.1 {code} Said\r\n{more}Content-Length: 0\r\nConnection: close\r\n\r\n").into_bytes()
    };
    let bytes = match path {
        "/good" => whole("image/png", PICTURE),
        "/wrong-type" => whole("text/html", b"<html>"),
        "/404" => status(404, ""),
        "/500" => status(500, ""),
        "/429-once" if asked == 1 => status(429, "Retry-After: 1\r\n"),
        "/reset-once" if asked == 1 => return reset(to),
        "/429-once" | "/reset-once" => whole("image/png", PICTURE),
        "/reset" => return reset(to),
        "/loop" => status(302, "Location: /loop\r\n"),
        "/redirect" => status(301, "Location: /good\r\n"),
        "/redirect-inside" => status(302, &format!("Location: http://127.0.0.2:{port}/good\r\n")),
        "/redirect-file" => status(302, "Location: file:///etc/passwd\r\n"),
        "/cut" => b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\nConnection: close\r\n\r\nonly this".to_vec(),
        "/nonsense" => b"\x16\x03\x01 this is not HTTP\r\n\r\n".to_vec(),
        // An answer that is to be unpacked, as a bomb would be.
        "/gzip" => [
            b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\nConnection: close\r\n\r\n".as_slice(),
            b"\x1F\x8B\x08\x00",
        ]
        .concat(),
        "/endless" => {
            to.write_all(b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\n\r\n")?;
            loop {
                to.write_all(&[0; 65536])?;
            }
        }
        "/endless-head" => {
            to.write_all(b"HTTP/1.1 200 OK\r\n")?;
            loop {
                to.write_all(b"X-More: and more\r\n")?;
            }
        }
        "/slow-head" | "/slow-body" => {
            let begin: &[u8] = if path == "/slow-head" {
                b"HTTP/1.1 200 OK\r\nX: "
            } else {
                b"HTTP/1.1 200 OK\r\nContent-Length: 999\r\n\r\n"
            };
            to.write_all(begin)?;
            loop {
                to.write_all(b"1")?;
                std::thread::sleep(Duration::from_millis(50));
            }
        }
        _ => whole("image/png", path.as_bytes()),
    };
    to.write_all(&bytes)
}

/// Closes in the middle of an answer, so that the other side is told of a reset.
fn reset(mut to: TcpStream) -> std::io::Result<()> {
    to.write_all(b"HTTP/1.1 200 OK\r\nContent-Le")?;
    to.shutdown(std::net::Shutdown::Both)
}

fn options() -> FetchOptions {
    FetchOptions {
        allow_private_addresses: true,
        timeout: Duration::from_millis(1500),
        bytes_max: 1 << 20,
        wait: Duration::from_millis(10),
        ..FetchOptions::default()
    }
}

fn fetch(url: &str, options: FetchOptions) -> Result<Vec<u8>, FetchError> {
    Fetcher::new(options).fetch(url, &|| false)
}

#[test]
fn what_is_there_is_fetched() {
    let server = Server::start();
    assert_eq!(fetch(&server.url("/good"), options()).unwrap(), PICTURE);
    assert_eq!(fetch(&server.url("/redirect"), options()).unwrap(), PICTURE);
    // A redirect to a file is asked of the server like any other path, and never of the disk.
    assert_eq!(fetch(&server.url("/redirect-file"), options()).unwrap(), b"/file:///etc/passwd");
    // What the bytes are is for the decoder to say; nothing is unpacked on the way.
    assert_eq!(fetch(&server.url("/wrong-type"), options()).unwrap(), b"<html>");
    assert_eq!(fetch(&server.url("/gzip"), options()).unwrap(), b"\x1F\x8B\x08\x00");
}

#[test]
fn another_attempt_is_made_where_it_may_help_and_only_there() {
    let server = Server::start();
    let begun = Instant::now();
    assert_eq!(fetch(&server.url("/429-once"), options()).unwrap(), PICTURE);
    assert!(begun.elapsed() >= Duration::from_secs(1), "the server asked to be waited for");
    assert_eq!(fetch(&server.url("/reset-once"), options()).unwrap(), PICTURE);
    for (path, reason, asked) in
        [("/404", "FETCH_STATUS", 1), ("/500", "FETCH_STATUS", 3), ("/reset", "FETCH_FAILED", 3)]
    {
        let error = fetch(&server.url(path), options()).unwrap_err();
        assert_eq!((error.reason(), server.asked(path)), (reason, asked), "{path}: {error}");
    }
}

#[test]
fn a_server_that_misbehaves_is_given_up_in_time_and_space() {
    let server = Server::start();
    let once = FetchOptions { attempts_max: 1, ..options() };
    let cases = [
        ("/slow-head", "FETCH_TIMEOUT"),
        ("/slow-body", "FETCH_TIMEOUT"),
        ("/endless", "FETCH_TOO_LARGE"),
        ("/endless-head", "FETCH_FAILED"),
        ("/loop", "TOO_MANY_REDIRECTS"),
        ("/cut", "FETCH_FAILED"),
        ("/nonsense", "FETCH_FAILED"),
    ];
    for (path, reason) in cases {
        let error = fetch(&server.url(path), once).unwrap_err();
        assert_eq!(error.reason(), reason, "{path}: {error}");
    }
    for url in ["http://", "http://[::1", "http://no-such-host.invalid/a.png"] {
        let error = fetch(url, once).unwrap_err();
        assert!(["BAD_ADDRESS", "FETCH_FAILED"].contains(&error.reason()), "{url}: {error}");
    }
}

#[test]
fn private_addresses_are_refused_by_number_by_name_and_after_a_redirect() {
    let server = Server::start();
    let port = server.address.port();
    let closed = FetchOptions { allow_private_addresses: false, ..options() };
    let hosts = ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "2130706433", "0x7f.1"];
    for host in hosts {
        let error = fetch(&format!("http://{host}:{port}/good"), closed).unwrap_err();
        assert!(["PRIVATE_ADDRESS", "FETCH_FAILED", "BAD_ADDRESS"].contains(&error.reason()), "{host}: {error}");
    }
    assert_eq!(server.asked("/good"), 0);
    let error = fetch(&format!("http://localhost:{port}/good"), closed).unwrap_err().to_string();
    assert!(error.contains("localhost is at") && error.contains("--allow-private-addresses"), "{error}");

    // The first server is allowed, and what it points to is not.
    let only_first = |address: IpAddr| address == IpAddr::V4(Ipv4Addr::LOCALHOST);
    let fetcher = Fetcher::with_allowed(options(), only_first);
    let error = fetcher.fetch(&server.url("/redirect-inside"), &|| false).unwrap_err();
    assert!(matches!(&error, FetchError::PrivateAddress { host, .. } if host == "127.0.0.2"), "{error}");
    assert_eq!(server.asked("/good"), 0);
}

#[test]
fn many_are_fetched_in_order_and_few_from_one_host() {
    let server = Server::start();
    let urls: Vec<String> = (0..40).map(|at| server.url(&format!("/{at}"))).collect();
    let fetched = crowd::fetch(&Fetcher::new(options()), &urls, &|| false);
    for (at, bytes) in fetched.into_iter().enumerate() {
        assert_eq!(bytes.unwrap(), format!("/{at}").into_bytes());
    }
    let crowd = server.crowd.load(Ordering::SeqCst);
    assert!((1..=4).contains(&crowd), "{crowd} requests at once");
}
