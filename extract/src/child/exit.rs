//! Derives the failure of a document from the exit status of its child process.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Signal;

use super::limits::Limits;
use crate::failure::{Code, Failure};

/// Returns the failure of a child process that ended without a result. `stderr` is the end of its standard error.
pub(super) fn failure_of_exit(status: ExitStatus, stderr: &str, limits: &Limits) -> Failure {
    let Some(signal) = status.signal() else {
        return Failure::new(Code::Internal, "The process that reads documents failed.");
    };
    if signal == Signal::ABORT.as_raw() {
        // Rust's runtime writes these messages before it aborts; nothing else distinguishes the causes.
        if stderr.contains("memory allocation of ") {
            return memory_failure(limits);
        }
        if stderr.contains("has overflowed its stack") {
            return Failure::too_complex("The document is nested too deeply to be read.");
        }
    }
    if signal == Signal::XCPU.as_raw() {
        return timeout_failure();
    }
    if signal == Signal::XFSZ.as_raw() {
        return Failure::too_complex(format!(
            "The output of the document exceeds {}. Split the document and upload the parts.",
            format_size(limits.output_bytes)
        ));
    }
    if signal == Signal::KILL.as_raw() {
        return Failure::too_complex(
            "The system stopped the process that read the document, most likely because it ran out of memory.",
        );
    }
    if signal == Signal::TERM.as_raw() || signal == Signal::INT.as_raw() {
        return Failure::new(Code::Internal, "Reading the document was interrupted.");
    }
    crash_failure()
}

/// Returns the failure of a document that exceeded its CPU time or its deadline.
pub(super) fn timeout_failure() -> Failure {
    Failure::too_complex(
        "The document takes longer to read than its size and number of pages allow. It is damaged, or was made to \
         overload programs; exporting it again may help.",
    )
}

/// Returns the failure of a document whose parser crashed.
pub(super) fn crash_failure() -> Failure {
    Failure::new(
        Code::ParserCrashed,
        "The document could not be read completely; most likely it is damaged. Exporting it again may help.",
    )
}

/// Returns the failure of a document that needs too much memory.
fn memory_failure(limits: &Limits) -> Failure {
    Failure::too_complex(format!(
        "The document needs more than {} of memory. Split it and upload the parts.",
        format_size(limits.memory_bytes)
    ))
}

fn format_size(bytes: u64) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(signal: Signal, stderr: &str) -> Code {
        failure_of_exit(ExitStatus::from_raw(signal.as_raw()), stderr, &Limits::default()).code
    }

    #[test]
    fn each_exit_status_has_its_code() {
        assert_eq!(code(Signal::ABORT, "memory allocation of 9 bytes failed"), Code::DocumentTooComplex);
        assert_eq!(code(Signal::ABORT, "thread 'x' has overflowed its stack"), Code::DocumentTooComplex);
        assert_eq!(code(Signal::ABORT, ""), Code::ParserCrashed);
        assert_eq!(code(Signal::SEGV, ""), Code::ParserCrashed);
        assert_eq!(code(Signal::XCPU, ""), Code::DocumentTooComplex);
        assert_eq!(code(Signal::XFSZ, ""), Code::DocumentTooComplex);
        assert_eq!(code(Signal::KILL, ""), Code::DocumentTooComplex);
        assert_eq!(failure_of_exit(ExitStatus::from_raw(0x100), "", &Limits::default()).code, Code::Internal);
    }
}
