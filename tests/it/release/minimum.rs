//! No dependency needs a newer Rust than `Cargo.toml` declares. The lint `incompatible_msrv` checks
//! dvc itself, and the workflow for a public host builds dvc with that version.

use super::project;
use std::process::Command;

fn version(text: &str) -> (u32, u32) {
    let mut parts = text.split('.').map(|part| part.parse().unwrap());
    (parts.next().unwrap(), parts.next().unwrap_or(0))
}

#[test]
fn dependencies_build_with_the_oldest_rust() {
    let mut c = Command::new(env!("CARGO"));
    c.args(["metadata", "--format-version=1", "--locked", "--offline"])
        .current_dir(project());
    // Dependencies for other systems may not be downloaded, so leave them out.
    c.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let out = c.output().unwrap();
    assert!(
        out.status.success(),
        "{}",
        String::from_utf8_lossy(&out.stderr)
    );
    let metadata: serde_json::Value = serde_json::from_slice(&out.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let own = packages
        .iter()
        .find(|package| package["name"] == "dvc" && package["source"].is_null())
        .unwrap();
    let promised = version(own["rust_version"].as_str().unwrap());
    let newer: Vec<String> = packages
        .iter()
        .filter_map(|package| Some((package["name"].as_str()?, package["rust_version"].as_str()?)))
        .filter(|(_, needs)| version(needs) > promised)
        .map(|(name, needs)| format!("{name} needs Rust {needs}"))
        .collect();
    assert!(newer.is_empty(), "{newer:#?}");
    assert!(packages.len() > 100);
}
