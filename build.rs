//! Rebuilds the program after a change of the embedded web page.

fn main() {
    println!("cargo::rerun-if-changed=web/dist");
    println!("cargo::rerun-if-changed=web/csp.txt");
}
