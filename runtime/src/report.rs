//! What a program says when it cannot go on.
//!
//! It takes faults (what was attempted, on what, why, what to do next) and gives one calm text of
//! at most 80 columns. Faults are collected, so that a person sees all of them at once and fixes
//! them at once. A fault never carries contents of documents, nor a secret: whoever builds one
//! passes URIs through [`crate::secret::redact_uri`].

use crate::exit::Exit;
use std::{error::Error, fmt, io::Write, process::ExitCode};
use textwrap::{Options, WordSplitter};

/// Wide enough for a sentence, narrow enough for every terminal.
const COLUMNS: usize = 80;

/// One thing that is wrong, in the words of the person who has to mend it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// What was attempted: `could not read the mapping`.
    pub what: String,
    /// On what: a flag, a file with its line, a server, a topic, a table.
    pub place: String,
    /// Why it failed, without the cause being hidden.
    pub why: String,
    /// What to do next, as a sentence.
    pub next: String,
}

impl Fault {
    /// A fault in the order in which it is told.
    pub fn new(
        what: impl Into<String>,
        place: impl Into<String>,
        why: impl Into<String>,
        next: impl Into<String>,
    ) -> Self {
        Self {
            what: what.into(),
            place: place.into(),
            why: why.into(),
            next: next.into(),
        }
    }

    fn write(&self, out: &mut fmt::Formatter<'_>, first: &str, indent: &str) -> fmt::Result {
        out.write_str(&wrap(first, indent, &self.what))?;
        let rows = [
            ("on", &self.place),
            ("because", &self.why),
            ("next", &self.next),
        ];
        for (label, text) in rows.iter().filter(|(_, text)| !text.is_empty()) {
            out.write_str("\n")?;
            let lead = format!("{indent}  {label:<8} ");
            let rest = " ".repeat(lead.len());
            out.write_str(&wrap(&lead, &rest, text))?;
        }
        Ok(())
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(out, "", "")
    }
}

impl Error for Fault {}

/// All that is wrong, in the order in which it was found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults(pub Vec<Fault>);

impl Faults {
    /// Adds one more.
    pub fn push(&mut self, fault: Fault) {
        self.0.push(fault);
    }

    /// Keeps the value, or keeps the fault and gives nothing: the way to go on checking.
    pub fn keep<T>(&mut self, result: Result<T, Fault>) -> Option<T> {
        result.map_err(|fault| self.push(fault)).ok()
    }

    /// The same for a result with several faults.
    pub fn keep_all<T>(&mut self, result: Result<T, Self>) -> Option<T> {
        result.map_err(|faults| self.0.extend(faults.0)).ok()
    }

    /// Whether nothing is wrong.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// `Ok` when nothing is wrong, otherwise the failure with all of it.
    pub fn into_result(self, exit: Exit) -> Result<(), Failure> {
        if self.is_empty() {
            Ok(())
        } else {
            Err(Failure { exit, faults: self })
        }
    }
}

impl From<Fault> for Faults {
    fn from(fault: Fault) -> Self {
        Self(vec![fault])
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.0.as_slice() {
            return only.write(out, "", "");
        }
        write!(out, "{} things are wrong:", self.0.len())?;
        for (index, fault) in self.0.iter().enumerate() {
            let first = format!("{}. ", index + 1);
            let indent = " ".repeat(first.len());
            out.write_str("\n\n")?;
            fault.write(out, &first, &indent)?;
        }
        Ok(())
    }
}

/// Why a program ends without having done its work, and the code it ends with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The documented code.
    pub exit: Exit,
    /// All that is wrong.
    pub faults: Faults,
}

impl Failure {
    /// A failure with a single fault.
    #[must_use]
    pub fn one(exit: Exit, fault: Fault) -> Self {
        Self {
            exit,
            faults: fault.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.faults.fmt(out)
    }
}

impl Error for Failure {}

/// The last line of every `main`: prints a failure to stderr and gives the code.
pub fn finish(result: Result<Exit, Failure>) -> ExitCode {
    match result {
        Ok(exit) => exit.into(),
        Err(failure) => {
            // Nobody is left to hear that stderr is closed; the code still tells.
            writeln!(std::io::stderr().lock(), "\n{failure}").ok();
            failure.exit.into()
        }
    }
}

/// An error and its causes, joined for people. A text that repeats the one before it is left out.
#[must_use]
pub fn causes(error: &(dyn Error + 'static)) -> String {
    causes_by(error, |error| error.to_string())
}

/// [`causes`] with other words for some errors.
pub fn causes_by(
    error: &(dyn Error + 'static),
    words: impl Fn(&(dyn Error + 'static)) -> String,
) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = words(error);
        if texts.last() != Some(&text) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

/// `text` after `first`, and after `indent` on every line that follows, broken at blanks so that no
/// line is longer than 80 columns. A word longer than a line (a URI, a path) stays whole, so that it can
/// be copied, and so does one with hyphens (a flag).
#[must_use]
pub fn wrap(first: &str, indent: &str, text: &str) -> String {
    let options = Options::new(COLUMNS)
        .initial_indent(first)
        .subsequent_indent(indent)
        .break_words(false)
        .word_splitter(WordSplitter::NoHyphenation);
    textwrap::fill(text, options)
}

#[cfg(test)]
mod tests {
    use super::{COLUMNS, Failure, Fault, Faults, causes, finish};
    use crate::exit::Exit;

    fn unreachable() -> Fault {
        Fault::new(
            "could not reach Kafka",
            "brokers `kafka-1:9092, kafka-2:9092`",
            "connection refused; the name was found and the host answered, but nothing listens \
             on that port",
            "Start the brokers, or set `LEAFCUTTER_KAFKA_BROKERS`.",
        )
    }

    #[test]
    fn one_fault_reads_as_a_paragraph() {
        let expected = "\
could not reach Kafka
  on       brokers `kafka-1:9092, kafka-2:9092`
  because  connection refused; the name was found and the host answered, but
           nothing listens on that port
  next     Start the brokers, or set `LEAFCUTTER_KAFKA_BROKERS`.";
        assert_eq!(Faults::from(unreachable()).to_string(), expected);
        assert_eq!(unreachable().to_string(), expected);
    }

    #[test]
    fn several_are_numbered_and_stay_within_the_columns() {
        let text = Faults(vec![unreachable(); 10]).to_string();
        assert!(
            text.starts_with("10 things are wrong:\n\n1. could not"),
            "{text}"
        );
        assert!(
            text.contains("\n\n10. could not reach Kafka\n      on "),
            "{text}"
        );
        assert!(
            text.lines().all(|line| line.chars().count() <= COLUMNS),
            "{text}"
        );
    }

    #[test]
    fn a_long_word_stays_whole() {
        let path = "/a".repeat(60);
        let fault = Fault::new("could not read", path.clone(), "gone", "");
        let text = fault.to_string();
        assert!(text.contains(&path) && !text.contains("next"), "{text}");
    }

    #[test]
    fn checking_goes_on_and_everything_is_reported() {
        let mut faults = Faults::default();
        assert_eq!(faults.keep(Ok(1)), Some(1));
        assert_eq!(faults.keep::<()>(Err(unreachable())), None);
        assert_eq!(faults.keep::<()>(Err(unreachable())), None);
        let failure = faults.into_result(Exit::Preflight).unwrap_err();
        assert_eq!((failure.exit, failure.faults.0.len()), (Exit::Preflight, 2));
        assert_eq!(Faults::default().into_result(Exit::Preflight), Ok(()));
    }

    #[test]
    fn causes_are_told_once() {
        #[derive(Debug, thiserror::Error)]
        #[error("{0}")]
        struct Told(&'static str, #[source] Option<Box<Told>>);
        let told = |text, cause: Option<Told>| Told(text, cause.map(Box::new));
        let cause = told("refused", Some(told("port 1", None)));
        let error = told("cannot connect", Some(told("refused", Some(cause))));
        assert_eq!(causes(&error), "cannot connect: refused: port 1");
    }

    #[test]
    fn the_failure_decides_the_code() {
        let code = finish(Err(Failure::one(Exit::HistoryLost, unreachable())));
        assert_eq!(
            format!("{code:?}"),
            format!("{:?}", std::process::ExitCode::from(5))
        );
    }
}
