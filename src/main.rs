//! The program. Everything is in the library; this only tells a server from a child that reads documents.

use std::process::ExitCode;

fn main() -> ExitCode {
    // Before there is a runtime or a second thread: what a child gives up, all of it gives up.
    if docket_extract::child::is_asked_for() {
        return docket_extract::child::main();
    }
    docket::cli::main()
}
