//! The `docket` program: runs the command line, or a child process that reads a document.

use std::process::ExitCode;

/// Requests take less CPU time with it than with the allocator of glibc: see docs/performance.md.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    // Before the runtime or a second thread starts: the sandbox must apply to the whole child process.
    if docket_extract::child::is_child_process() {
        return docket_extract::child::main();
    }
    docket::cli::main()
}
