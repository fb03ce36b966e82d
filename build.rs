//! Asks the active Python where its torch keeps libtorch, on every build.
//!
//! torch-sys remembers the folder of the torch it was compiled with. Under pip's isolated build that is a
//! temporary folder, so a later build with a kept target folder would not link.
use std::process::Command;

fn main() {
    println!("cargo:rerun-if-env-changed=VIRTUAL_ENV");
    println!("cargo:rerun-if-env-changed=PATH");
    if std::env::var_os("CARGO_FEATURE_TORCH").is_none() {
        return;
    }
    let python = if std::env::var_os("VIRTUAL_ENV").is_some() { "python" } else { "python3" };
    let script =
        "import importlib.util as u, os; print(os.path.join(os.path.dirname(u.find_spec('torch').origin), 'lib'))";
    match Command::new(python).args(["-c", script]).output() {
        Ok(out) if out.status.success() => {
            println!("cargo:rustc-link-search=native={}", String::from_utf8_lossy(&out.stdout).trim());
        }
        Ok(out) => {
            println!("cargo:warning={python} has no torch: {}", String::from_utf8_lossy(&out.stderr).trim());
        }
        Err(error) => println!("cargo:warning=cannot run {python}: {error}"),
    }
}
