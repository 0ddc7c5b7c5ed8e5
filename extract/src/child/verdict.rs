//! What the end of a child process says about its document.

use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use rustix::process::Signal;

use super::limits::Limits;
use crate::failure::{Code, Failure};

/// The failure that explains why a child ended without an answer. `stderr` is the end of what it wrote.
pub(super) fn of(status: ExitStatus, stderr: &str, limits: &Limits) -> Failure {
    let Some(signal) = status.signal() else {
        return Failure::new(Code::Internal, "The program that reads documents could not do its work.");
    };
    if signal == Signal::ABORT.as_raw() {
        // What Rust's runtime writes before it aborts; nothing else tells these apart.
        if stderr.contains("memory allocation of ") {
            return memory(limits);
        }
        if stderr.contains("has overflowed its stack") {
            return too_complex("The document is nested too deeply to be read.");
        }
    }
    if signal == Signal::XCPU.as_raw() {
        return time();
    }
    if signal == Signal::XFSZ.as_raw() {
        return too_complex(format!(
            "What was found in the document takes more than {}. Split it and upload the parts.",
            size(limits.output_bytes)
        ));
    }
    if signal == Signal::KILL.as_raw() {
        return too_complex(
            "Reading the document was stopped by the system, most likely because it ran out of memory.",
        );
    }
    if signal == Signal::TERM.as_raw() || signal == Signal::INT.as_raw() {
        return Failure::new(Code::Internal, "Reading the document was interrupted.");
    }
    crashed()
}

/// The document took too long, by the processor or by the clock.
pub(super) fn time() -> Failure {
    too_complex(
        "The document takes longer to read than a document of its size and pages may take. It is damaged, or was made \
         to overload programs; exporting it again may help.",
    )
}

/// The parser ended in a way of its own.
pub(super) fn crashed() -> Failure {
    Failure::new(
        Code::ParserCrashed,
        "The document could not be read to its end; it is most likely damaged. Exporting it again may help.",
    )
}

/// The document needs too much memory.
fn memory(limits: &Limits) -> Failure {
    too_complex(format!(
        "The document needs more than {} of memory to be read. Split it and upload the parts.",
        size(limits.memory_bytes)
    ))
}

fn size(bytes: u64) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
}

fn too_complex(message: impl Into<String>) -> Failure {
    Failure::new(Code::DocumentTooComplex, message)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(signal: Signal, stderr: &str) -> Code {
        of(ExitStatus::from_raw(signal.as_raw()), stderr, &Limits::default()).code
    }

    #[test]
    fn each_end_has_its_code() {
        assert_eq!(code(Signal::ABORT, "memory allocation of 9 bytes failed"), Code::DocumentTooComplex);
        assert_eq!(code(Signal::ABORT, "thread 'x' has overflowed its stack"), Code::DocumentTooComplex);
        assert_eq!(code(Signal::ABORT, ""), Code::ParserCrashed);
        assert_eq!(code(Signal::SEGV, ""), Code::ParserCrashed);
        assert_eq!(code(Signal::XCPU, ""), Code::DocumentTooComplex);
        assert_eq!(code(Signal::XFSZ, ""), Code::DocumentTooComplex);
        assert_eq!(code(Signal::KILL, ""), Code::DocumentTooComplex);
        assert_eq!(of(ExitStatus::from_raw(0x100), "", &Limits::default()).code, Code::Internal);
    }
}
