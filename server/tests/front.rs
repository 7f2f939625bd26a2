//! The binary's command line, as far as it needs no server: exit codes, and what goes to which output.

use std::io::Write;
use std::process::{Command, Output};

/// Runs the binary in an empty directory, without settings from outside.
fn annulus(arguments: &[&str], environment: &[(&str, &str)]) -> Output {
    let home = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_annulus"));
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("ANNULUS_") {
            command.env_remove(name);
        }
    }
    command.args(arguments).envs(environment.iter().copied()).current_dir(home.path());
    command.output().expect("the binary runs")
}

fn text(bytes: &[u8]) -> &str {
    std::str::from_utf8(bytes).expect("text")
}

#[test]
fn a_wrong_flag_exits_with_2_and_a_hint() {
    let output = annulus(&["serve", "--prot", "7000"], &[]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("--port"), "{output:?}");
    assert!(output.stdout.is_empty());
}

#[test]
fn a_wrong_variable_exits_with_2_and_its_name() {
    let output = annulus(&["--print-config"], &[("ANNULUS_SHARDS", "many")]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).starts_with("annulus: ANNULUS_SHARDS in the environment: "), "{output:?}");
}

#[test]
fn a_printed_configuration_gives_the_same_settings_again() {
    let options = ["serve", "--print-config", "--port", "7000", "--bind", "10.0.0.1", "-::1", "--pin", "1,0"];
    let first = annulus(&options, &[("ANNULUS_REQUIREPASS", "a \"quoted\" secret")]);
    assert_eq!(first.status.code(), Some(0), "{first:?}");
    let mut file = tempfile::NamedTempFile::new().expect("a file");
    file.write_all(&first.stdout).expect("written");
    let path = file.path().to_str().expect("a path in UTF-8");
    let again = annulus(&["serve", "--print-config", "--config", path], &[]);
    assert_eq!(text(&again.stdout), text(&first.stdout));
    assert!(text(&first.stdout).contains("port = 7000\n"));
}

#[test]
fn doctor_exits_with_2_where_no_data_directory_can_be() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let path = file.path().to_str().expect("a path in UTF-8");
    let output = annulus(&["doctor", "--dir", path], &[]);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    assert!(text(&output.stdout).contains("is not a directory"), "{output:?}");
}

#[test]
fn version_and_help_exit_with_0() {
    let version = annulus(&["--version"], &[]);
    assert_eq!((version.status.code(), text(&version.stdout).starts_with("annulus ")), (Some(0), true));
    let help = annulus(&["serve", "--help"], &[]);
    assert!(help.status.success() && text(&help.stdout).contains("ANNULUS_LOG_LEVEL"), "{help:?}");
}
