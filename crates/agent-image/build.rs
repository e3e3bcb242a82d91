//! Builds the guest agent: the same sources and lock file, another profile and other flags.
//!
//! It is a cargo of its own with a target directory of its own inside of `OUT_DIR`, so that it
//! neither waits for the outer cargo's lock nor disturbs its artefacts. It runs again when a source
//! of the agent changes, and then builds only what did.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The only target that stable toolchains have without asking for another one; with `crt-static`
/// the C library goes into the program.
const TARGET: &str = "x86_64-unknown-linux-gnu";

fn main() {
    let here = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("cargo sets it"));
    let project = here.ancestors().nth(2).expect("crates/ is in the project");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets it"));
    for source in [
        "crates/agent",
        "crates/agent-protocol",
        "crates/host-name",
        "Cargo.lock",
        "Cargo.toml",
    ] {
        println!("cargo::rerun-if-changed={}", project.join(source).display());
    }
    println!("cargo::rerun-if-changed=build.rs");
    let is = |name: &str, value: &str| env::var(name).is_ok_and(|found| found == value);
    if !is("CARGO_CFG_TARGET_ARCH", "x86_64") || !is("CARGO_CFG_TARGET_OS", "linux") {
        std::fs::write(out.join("stampo-agent"), []).expect("write to OUT_DIR");
        return;
    }
    // Everything that the outer cargo needed is there already; the network is the second choice.
    // A linker that can't fold functions is the third choice: the program is larger then.
    let built = build(project, &out, &["--offline"], FOLD)
        || build(project, &out, &[], FOLD)
        || build(project, &out, &[], &[]);
    assert!(
        built,
        "the guest agent does not build; its errors are above"
    );
    let program = out.join("agent").join(TARGET).join("agent/stampo-agent");
    std::fs::copy(&program, out.join("stampo-agent")).expect("the agent was built");
}

/// Functions of the same code become one. Rust's own linker knows it.
const FOLD: &[&str] = &["-Clink-arg=-Wl,--icf=all"];

fn build(project: &Path, out: &Path, network: &[&str], more: &[&str]) -> bool {
    let mut flags = flags(project);
    flags.extend(more.iter().map(|flag| (*flag).to_owned()));
    let mut cargo = Command::new(env::var_os("CARGO").expect("cargo sets it"));
    // What the outer cargo was told (wrappers of clippy, flags of a coverage run, its profile) is
    // about the outer program.
    for (name, _) in env::vars_os() {
        let text = name.to_string_lossy();
        let outer = [
            "CARGO_PROFILE_",
            "CARGO_BUILD_",
            "CARGO_CFG_",
            "CARGO_FEATURE_",
            "CARGO_TARGET_",
        ];
        let wrapper = [
            "RUSTFLAGS",
            "RUSTDOCFLAGS",
            "RUSTC_WRAPPER",
            "RUSTC_WORKSPACE_WRAPPER",
        ];
        if outer.iter().any(|start| text.starts_with(start)) || wrapper.contains(&text.as_ref()) {
            cargo.env_remove(&name);
        }
    }
    cargo
        .current_dir(project)
        .args(["build", "--locked", "--package", "stampo-agent"])
        .args(network)
        .args(["--profile", "agent", "--target", TARGET, "--target-dir"])
        .arg(out.join("agent"))
        .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
        .status()
        .is_ok_and(|status| status.success())
}

/// Flags are here and not in `.cargo/config.toml`, because they are the agent's alone.
fn flags(project: &Path) -> Vec<String> {
    let home = env::var_os("CARGO_HOME").map(PathBuf::from);
    let home = home.or_else(|| env::var_os("HOME").map(|home| Path::new(&home).join(".cargo")));
    let mut flags = vec![
        "-Ctarget-feature=+crt-static".to_owned(),
        // A program at a fixed address: 50 KiB less to relocate at every start.
        "-Crelocation-model=static".to_owned(),
        // The index for unwinding: a panic aborts, so nobody looks a frame up.
        "-Clink-arg=-Wl,--no-eh-frame-hdr".to_owned(),
        // Without the variants for vector units, which cost more than one key gains.
        "--cfg=curve25519_dalek_backend=\"serial\"".to_owned(),
        format!("--remap-path-prefix={}=stampo", project.display()),
    ];
    if let Some(home) = home {
        flags.push(format!("--remap-path-prefix={}=cargo", home.display()));
    }
    flags
}
