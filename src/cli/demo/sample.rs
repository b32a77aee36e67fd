//! The workspace that the demo builds: a library with a build script, a procedural macro, a library
//! that uses both, and a binary. No dependencies, so that nothing is downloaded.

use anyhow::{Context, Result};
use std::path::Path;

/// The binary of the workspace.
pub(super) const BINARY: &str = "greenhouse";

const FILES: [(&str, &str); 10] = [
    ("Cargo.toml", include_str!("sample/workspace.toml")),
    ("climate/Cargo.toml", include_str!("sample/climate.toml")),
    ("climate/build.rs", include_str!("sample/climate_build.rs")),
    ("climate/src/lib.rs", include_str!("sample/climate_lib.rs")),
    ("plants-derive/Cargo.toml", include_str!("sample/derive.toml")),
    ("plants-derive/src/lib.rs", include_str!("sample/derive_lib.rs")),
    ("plants/Cargo.toml", include_str!("sample/plants.toml")),
    ("plants/src/lib.rs", include_str!("sample/plants_lib.rs")),
    ("greenhouse/Cargo.toml", include_str!("sample/greenhouse.toml")),
    ("greenhouse/src/main.rs", include_str!("sample/greenhouse_main.rs")),
];

/// Writes the workspace into a directory.
pub(super) fn write(directory: &Path) -> Result<()> {
    for (name, text) in FILES {
        let path = directory.join(name);
        let parent = path.parent().unwrap_or(directory);
        std::fs::create_dir_all(parent)
            .and_then(|()| std::fs::write(&path, text))
            .with_context(|| format!("write {}", path.display()))?;
    }
    Ok(())
}
