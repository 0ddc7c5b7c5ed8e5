//! Builds again when the page that is embedded was built again.

fn main() {
    println!("cargo::rerun-if-changed=web/dist");
    println!("cargo::rerun-if-changed=web/csp.txt");
}
