//! TLS against redis-server, with certificates made for the run: who is trusted, and who is not.

#![allow(
    clippy::disallowed_methods,
    reason = "tests are outside the server: they start processes and make files"
)]

use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command as Process, Stdio},
};

use annulus_client::{Command, Error, Options, Pipeline, Tls, blocking::Client, commands::*};
use tempfile::TempDir;

/// A redis-server that speaks TLS only.
struct Server {
    child: Child,
    home: TempDir,
    port: u16,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn openssl(home: &Path, line: &str) {
    let mut command = Process::new("openssl");
    let done = command.args(line.split_whitespace()).current_dir(home).stderr(Stdio::null()).status();
    assert!(done.is_ok_and(|status| status.success()), "openssl {line}");
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path();
        for name in ["ca", "other"] {
            openssl(
                dir,
                &format!(
                    "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN={name} -keyout {name}.key -out {name}.pem"
                ),
            );
        }
        for name in ["server", "client"] {
            std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost").unwrap();
            openssl(
                dir,
                &format!("req -newkey rsa:2048 -nodes -subj /CN={name} -keyout {name}.key -out {name}.csr"),
            );
            openssl(
                dir,
                &format!(
                    "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names -out {name}.pem"
                ),
            );
        }
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let child = Process::new("redis-server")
            .args(["--port", "0", "--tls-port", &port.to_string(), "--save", ""])
            .args([
                "--tls-cert-file",
                "server.pem",
                "--tls-key-file",
                "server.key",
                "--tls-ca-cert-file",
                "ca.pem",
            ])
            .args(arguments)
            .current_dir(dir)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        Self { child, home, port }
    }

    fn file(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    fn options(&self, tls: Tls) -> Options {
        let mut options = Options::from_url(&format!("redis://localhost:{}", self.port)).unwrap();
        // The server may still be starting.
        options.tls = Some(tls);
        options
    }

    /// Once the server is there.
    fn connect(&self, tls: &Tls) -> Result<Client, Error> {
        for _ in 0..200 {
            match Client::connect(self.options(tls.clone())) {
                Err(Error::Connection { kind: std::io::ErrorKind::ConnectionRefused, .. }) => {
                    std::thread::sleep(std::time::Duration::from_millis(25));
                }
                result => return result,
            }
        }
        panic!("the server does not start");
    }
}

#[test]
fn everything_works_encrypted() {
    let server = Server::start(&["--tls-auth-clients", "no"]);
    let tls = Tls::with_authority(server.file("ca.pem")).unwrap();
    let client = server.connect(&tls).unwrap();
    client.set("k", "v").unwrap();
    assert_eq!(client.get("k").unwrap().unwrap(), "v");
    // Larger than any buffer on the way, in both directions.
    let large: Vec<u8> = (0..5_000_000_u32).map(|at| (at % 251) as u8).collect();
    client.set("large", &large).unwrap();
    assert!(client.get("large").unwrap().unwrap() == large, "another value than was set");
    let many = (0..20_000).fold(Pipeline::new(), |all, _| all.with(Command::new("GET").key("k").reads()));
    assert!(client.pipeline(many).unwrap().iter().all(Result::is_ok));
    let session = client.session().unwrap();
    session.watch(["k"]).unwrap();
    assert!(session.exec(Pipeline::new().with(Command::new("INCR").key("n"))).unwrap().is_some());
    assert!(session.get("large").unwrap().unwrap() == large, "another value than was set");
    let mut subscriber = client.subscriber().unwrap();
    subscriber.subscribe(["news"]).unwrap();
    assert_eq!(client.publish("news", &large), Ok(1));
    assert!(subscriber.next().unwrap().unwrap().payload == large, "another message than was sent");
    let url = format!("rediss://localhost:{}?ca={}", server.port, server.file("ca.pem").display());
    assert_eq!(Client::connect(url).unwrap().get("k").unwrap().unwrap(), "v");
}

#[test]
fn a_server_that_cannot_be_trusted_is_not() {
    let server = Server::start(&["--tls-auth-clients", "no"]);
    let right = Tls::with_authority(server.file("ca.pem")).unwrap();
    server.connect(&right).unwrap();
    let other = Tls::with_authority(server.file("other.pem")).unwrap();
    assert!(matches!(server.connect(&other), Err(Error::Tls(_))));
    let misnamed = right.clone().server_name("db.example");
    assert!(matches!(server.connect(&misnamed), Err(Error::Tls(_))));
    assert!(matches!(Tls::with_authority(server.file("server.key")), Err(Error::Tls(_))));
    assert!(matches!(Tls::with_authority(server.file("nosuch")), Err(Error::Tls(_))));
    // Without encryption there is nothing to talk about.
    let mut plain = server.options(right);
    plain.tls = None;
    assert!(Client::connect(plain).is_err());
}

#[test]
fn a_server_that_asks_for_a_certificate_gets_one() {
    let server = Server::start(&["--tls-auth-clients", "yes"]);
    let own =
        Tls::with_certificate(server.file("ca.pem"), server.file("client.pem"), server.file("client.key"));
    let client = server.connect(&own.unwrap()).unwrap();
    client.ping().unwrap();
    let without = Tls::with_authority(server.file("ca.pem")).unwrap();
    assert!(server.connect(&without).is_err());
}
