//! The real binary, run as people run it, over the tiny bundle or the demo's.

#![allow(dead_code, clippy::unwrap_used)]

use std::io::{BufRead, BufReader, Cursor, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

/// The repository.
pub fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

/// A bundle of a few kilobytes whose answers mean nothing, but run through ONNX Runtime.
pub fn tiny_bundle() -> PathBuf {
    root().join("engine/models/tests/fixtures/tiny_bundle")
}

/// The demo's bundle.
pub fn demo_bundle() -> PathBuf {
    let path = std::env::var_os("FROMAGERIE_TEST_BUNDLE").map_or(root().join(".cache/demo-bundle"), PathBuf::from);
    assert!(path.is_dir(), "there is no bundle at {}: run `make setup` first", path.display());
    path
}

/// The picture of this name among the models' fixtures.
pub fn picture(name: &str) -> PathBuf {
    root().join("engine/models/tests/fixtures/pictures").join(name)
}

/// The binary, which `make test` builds before the tests.
pub fn binary() -> PathBuf {
    let folder = std::env::current_exe().unwrap().parent().unwrap().parent().unwrap().to_owned();
    let path = folder.join("fromagerie");
    assert!(path.is_file(), "there is no binary at {}: run `make test`, which builds it", path.display());
    path
}

/// The command, ready for more arguments.
pub fn fromagerie(arguments: &[&str]) -> Command {
    let mut command = Command::new(binary());
    command.args(arguments).current_dir(root()).env_remove("FROMAGERIE_BUNDLE");
    command
}

/// Runs it with `input` on its standard input.
pub fn run(command: &mut Command, input: &str) -> Output {
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
    child.wait_with_output().unwrap()
}

/// The exit code, each line of standard output as JSON, and standard error.
pub fn json(command: &mut Command, input: &str) -> (i32, Vec<Value>, String) {
    let output = run(command.arg("--json"), input);
    let text = String::from_utf8(output.stdout).unwrap();
    let lines = text.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|e| panic!("{e}: {line}")));
    (output.status.code().unwrap_or(-1), lines.collect(), String::from_utf8(output.stderr).unwrap())
}

/// A picture of one colour.
pub fn png(colour: [u8; 3]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image::RgbImage::from_pixel(16, 16, image::Rgb(colour)).write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}

/// Fills a folder with `count` small pictures, no two alike.
pub fn fill(folder: &Path, count: u32) {
    for n in 0..count {
        let [a, b, c, _] = (n * 7919).to_le_bytes();
        std::fs::write(folder.join(format!("{n:05}.png")), png([a, b, c])).unwrap();
    }
}

/// A server on a free port, stopped when dropped.
pub struct Served {
    child: Child,
    /// Such as `127.0.0.1:41234`.
    pub address: String,
}

impl Served {
    /// `fromagerie serve`, with more arguments.
    pub fn start(db: &Path, bundle: Option<&Path>, more: &[&str]) -> Served {
        let mut command = fromagerie(&["serve", "--listen", "127.0.0.1:0", "--db"]);
        command.arg(db).args(more).stdout(Stdio::piped());
        if let Some(bundle) = bundle {
            command.arg("--bundle").arg(bundle);
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let first = lines.next().expect("the server ended before it listened").unwrap();
        let address = first.strip_prefix("listening on ").unwrap_or_else(|| panic!("{first}")).to_owned();
        Served { child, address }
    }

    /// Sends the process a signal, such as `TERM`.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(sent.success());
    }

    /// Whether the process has not ended.
    pub fn is_alive(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// For tonic's clients.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
