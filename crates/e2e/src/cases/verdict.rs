//! What came of a run.

use std::fmt;

use super::expectation::Expectation;

/// What came of a run, as it is printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The copy is the device's, row by row and by definition.
    Equal,
    /// It is not: the first differences.
    Differs(String),
    /// The device is parked: the reason.
    Parked(String),
    /// A service ended by itself: its last words.
    Stopped(String),
    /// It neither came to the end of the log nor said why in time.
    Stuck(String),
    /// A log lacks what it should say, or says what it should not.
    Told(String),
    /// The case itself does not work: a server refused its SQL, or a step failed.
    Broken(String),
}

impl Verdict {
    /// Whether it is what the case asks for.
    pub fn fits(&self, expectation: &Expectation) -> bool {
        let said = self.to_string();
        let mut words = expectation.verdict.splitn(2, ' ');
        let kind = words.next().unwrap_or_default();
        said.split(' ').next() == Some(kind)
            && words.next().is_none_or(|reason| said.contains(reason))
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (kind, detail) = match self {
            Verdict::Equal => return f.write_str("EQUAL"),
            Verdict::Differs(detail) => ("DIFFERS", detail),
            Verdict::Parked(detail) => ("PARKED", detail),
            Verdict::Stopped(detail) => ("STOPPED", detail),
            Verdict::Stuck(detail) => ("STUCK", detail),
            Verdict::Told(detail) => ("TOLD", detail),
            Verdict::Broken(detail) => ("BROKEN", detail),
        };
        write!(f, "{kind} {}", detail.replace('\n', " | "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_that_is_asked_for_has_to_be_in_the_reason() {
        let mut expectation = Expectation::of_name("x");
        expectation.verdict = "PARKED a sequence".to_owned();
        assert!(Verdict::Parked("d.s is a sequence".to_owned()).fits(&expectation));
        assert!(!Verdict::Parked("something else".to_owned()).fits(&expectation));
        assert!(!Verdict::Equal.fits(&expectation));
        expectation.verdict = "PARKED".to_owned();
        assert!(Verdict::Parked("something else".to_owned()).fits(&expectation));
    }
}
