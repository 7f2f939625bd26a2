//! Where the programs under test come from: ours is built, redis-server and its tools are installed when missing.

use std::{
    env,
    path::{Path, PathBuf},
    process::Command,
    sync::{Mutex, OnceLock},
};

/// The `annulus` binary of the profile these tests were built with, built once per test process.
///
/// `ANNULUS_BIN` names another one (a release build, an older version) and builds nothing.
pub fn annulus() -> &'static Path {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    BINARY.get_or_init(|| env::var_os("ANNULUS_BIN").map_or_else(build_annulus, PathBuf::from))
}

fn build_annulus() -> PathBuf {
    build(&["--package", "annulus", "--bin", "annulus"]);
    profile_dir().join("annulus")
}

/// The directory of the client's examples, built once per test process. Built with all of the workspace, so that what
/// `cargo test --workspace` has made is what is taken.
pub fn client_examples() -> &'static Path {
    static EXAMPLES: OnceLock<PathBuf> = OnceLock::new();
    EXAMPLES.get_or_init(|| {
        build(&["--workspace", "--examples"]);
        profile_dir().join("examples")
    })
}

/// Builds something in the profile and the directory that these tests were built in.
fn build(what: &[&str]) {
    let profile_dir = profile_dir();
    let profile = match profile_dir.file_name().and_then(|name| name.to_str()) {
        Some("debug") | None => "dev",
        Some(name) => name,
    };
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let status = Command::new(cargo)
        .args(["build", "--quiet", "--profile", profile])
        .args(what)
        .arg("--target-dir")
        .arg(profile_dir.parent().expect("a profile directory lies in the target directory"))
        .current_dir(Path::new(env!("CARGO_MANIFEST_DIR")))
        .status()
        .expect("cargo can be started");
    assert!(status.success(), "building {what:?} failed: {status}");
}

/// `target/<profile>`: test executables lie in its `deps`.
fn profile_dir() -> PathBuf {
    let executable = env::current_exe().expect("the test executable has a path");
    let deps = executable.parent().expect("an executable lies in a directory");
    deps.parent().expect("deps lies in the profile directory").to_path_buf()
}

/// Where tests make their directories: on the disk that holds the build.
pub fn scratch_parent() -> PathBuf {
    let parent =
        profile_dir().parent().expect("a profile directory lies in the target directory").join("tmp");
    std::fs::create_dir_all(&parent).expect("the target directory can be written");
    parent
}

/// `redis-server`, the oracle.
pub fn redis_server() -> &'static str {
    installed("redis-server", "redis-server")
}

/// `redis-cli`.
pub fn redis_cli() -> &'static str {
    installed("redis-cli", "redis-tools")
}

/// `redis-benchmark`.
pub fn redis_benchmark() -> &'static str {
    installed("redis-benchmark", "redis-tools")
}

/// Installs the Debian package when the program is missing and we may; else says what to install.
fn installed(program: &'static str, package: &str) -> &'static str {
    assert!(can_have(program, package), "these tests need `{program}`: apt-get install {package}");
    program
}

/// Whether the program runs; installs the Debian packages when it is missing and we may.
pub fn can_have(program: &str, packages: &str) -> bool {
    // One at a time: apt's own lock would fail the second.
    static INSTALLING: Mutex<()> = Mutex::new(());
    let _one = INSTALLING.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if runs(program) {
        return true;
    }
    if rustix::process::geteuid().is_root() {
        // Run level 1 keeps the package from starting a service of its own on port 6379.
        let script = format!(
            "export DEBIAN_FRONTEND=noninteractive RUNLEVEL=1; apt-get update -q || true; \
             apt-get install -q -y --no-install-recommends {packages}"
        );
        let _ = Command::new("sh").args(["-c", &script]).output();
    }
    runs(program)
}

fn runs(program: &str) -> bool {
    Command::new(program).arg("--version").output().is_ok_and(|output| output.status.success())
}
