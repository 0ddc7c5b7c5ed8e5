//! The `docket` program: runs the command line, or a child process that reads a document.

use std::process::ExitCode;

/// Gives memory back to the system, unlike the allocator of glibc, which keeps the blocks of password hashing.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before the runtime or a second thread starts: the sandbox must apply to the whole child process.
    if docket_extract::child::is_child_process() {
        return docket_extract::child::main();
    }
    docket::cli::main()
}
