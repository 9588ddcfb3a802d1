//! Compiles the protos at the root of the repository: no protoc needed.
//!
//! The descriptors of everything are kept for reflection and for the tests. Client and server code is generated for
//! the services that this workspace serves today; the others keep their descriptors and messages only, because their
//! code would double the build time of this crate.

use std::error::Error;
use std::path::{Path, PathBuf};

/// Services for which code is generated.
const SERVED: [&str; 5] = ["GatewayWorkerGroup", "GatewayCache", "Gateway", "Cache", "Members"];

fn main() -> Result<(), Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../proto");
    println!("cargo::rerun-if-changed={}", root.display());
    let mut files = Vec::new();
    collect(&root, &mut files)?;
    files.sort();

    let mut compiler = protox::Compiler::new([&root])?;
    compiler.include_imports(true).include_source_info(true).open_files(&files)?;
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    std::fs::write(out.join("descriptors.bin"), compiler.encode_file_descriptor_set())?;

    let mut set = compiler.file_descriptor_set();
    for file in &mut set.file {
        file.service.retain(|service| SERVED.contains(&service.name()));
    }
    tonic_prost_build::configure()
        .bytes(".")
        // Events are large and wait in queues: a message of a stream holds a pointer to its event.
        .boxed(".pylon.gateway.v1.workergroup.WorkerStreamServerMessage.payload.event_envelope")
        .include_file("generated.rs")
        .emit_rerun_if_changed(false)
        .compile_fds(set)?;
    Ok(())
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
