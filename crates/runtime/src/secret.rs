//! A value that must not be seen.

use serde::{Deserialize, Deserializer, de};
use std::fmt;

/// A password, token or key out of the configuration. It never prints, and there is no way to
/// serialize it.
///
/// A value `file:<path>` is read from that file when the configuration is loaded; one line break at
/// its end is dropped.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

const FILE_PREFIX: &str = "file:";
/// No password, token or key is longer; a larger file was named by mistake.
const FILE_BYTES_MAX: u64 = 64 << 10;

// === impl Secret ===

impl Secret {
    /// Wraps a value that came from elsewhere than the configuration; `file:` has no meaning here.
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself. Never pass it to a log, a metric or a message.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl<'de> Deserialize<'de> for Secret {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = String::deserialize(deserializer)?;
        match value.strip_prefix(FILE_PREFIX) {
            Some(path) => read(path).map(Self).map_err(de::Error::custom),
            None => Ok(Self(value)),
        }
    }
}

fn read(path: &str) -> Result<String, String> {
    let refuse = |fault: String| {
        format!(
            "secret file {path} {fault}; write the secret there, readable by this service's user only"
        )
    };
    let metadata =
        std::fs::metadata(path).map_err(|error| refuse(format!("cannot be read ({error})")))?;
    if metadata.len() > FILE_BYTES_MAX {
        let bytes = metadata.len();
        return Err(refuse(format!("holds {bytes} bytes, more than {FILE_BYTES_MAX}")));
    }
    let mut text = std::fs::read_to_string(path)
        .map_err(|error| refuse(format!("cannot be read ({error})")))?;
    if text.ends_with('\n') {
        text.pop();
        if text.ends_with('\r') {
            text.pop();
        }
    }
    if text.is_empty() { Err(refuse("is empty".to_owned())) } else { Ok(text) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde::de::IntoDeserializer;
    use serde::de::value::{Error, StrDeserializer};

    fn parse(value: &str) -> Result<Secret, Error> {
        let deserializer: StrDeserializer<'_, Error> = value.into_deserializer();
        Secret::deserialize(deserializer)
    }

    fn file(name: &str, content: &str) -> std::path::PathBuf {
        let path = std::env::temp_dir().join(format!("tributary-{name}-{}", fastrand::u64(..)));
        std::fs::write(&path, content).expect("writes");
        path
    }

    #[test]
    fn a_secret_never_prints() {
        let secret = parse("hunter2").expect("valid");
        assert_eq!(secret.expose(), "hunter2");
        for text in [format!("{secret}"), format!("{secret:?}"), format!("{:#?}", Some(&secret))] {
            assert!(!text.contains("hunter2") && text.contains("***"), "{text}");
        }
    }

    #[test]
    fn a_secret_is_read_from_the_file_it_names_without_its_last_line_break() {
        for (content, wanted) in
            [("s3cret\n", "s3cret"), ("s3cret\r\n", "s3cret"), (" a \n\n", " a \n")]
        {
            let path = file("secret", content);
            let secret = parse(&format!("file:{}", path.display())).expect("reads");
            assert_eq!(secret.expose(), wanted);
            std::fs::remove_file(path).expect("removes");
        }
    }

    #[test]
    fn a_secret_file_that_is_missing_empty_or_huge_is_named() {
        let (empty, huge) = (file("empty", "\n"), file("huge", &"x".repeat(70_000)));
        for (path, why) in [
            (std::path::Path::new("/nonexistent/secret"), "cannot be read"),
            (&empty, "is empty"),
            (&huge, "more than 65536"),
        ] {
            let error =
                parse(&format!("file:{}", path.display())).expect_err("refused").to_string();
            assert!(error.contains(why) && error.contains(&path.display().to_string()), "{error}");
        }
        for path in [empty, huge] {
            std::fs::remove_file(path).expect("removes");
        }
    }
}
