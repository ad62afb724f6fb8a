//! Who this device is: from the configuration, or from a shell-style file such as `/etc/device.conf`.

use std::path::Path;

/// `DEVICE_ID` and `DEVICE_NAME` of a device file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DeviceFile {
    /// `DEVICE_ID="…"`.
    pub id: Option<String>,
    /// `DEVICE_NAME="…"`.
    pub name: Option<String>,
}

// === impl DeviceFile ===

impl DeviceFile {
    /// Reads a file of `KEY=value` lines: quotes of either sort, `export`, comments.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn read(path: &Path) -> std::io::Result<Self> {
        Ok(Self::parse(&std::fs::read_to_string(path)?))
    }

    fn parse(text: &str) -> Self {
        let mut file = Self::default();
        for line in text.lines() {
            let line = line.trim();
            let line = line.strip_prefix("export ").unwrap_or(line);
            match line.split_once('=') {
                Some(("DEVICE_ID", value)) => file.id = Some(unquote(value)),
                Some(("DEVICE_NAME", value)) => file.name = Some(unquote(value)),
                _ => {}
            }
        }
        file
    }
}

/// What a shell would make of the value, substitutions aside.
fn unquote(value: &str) -> String {
    let value = value.trim();
    for quote in ['"', '\''] {
        if let Some((inner, _)) = value.strip_prefix(quote).and_then(|rest| rest.split_once(quote))
        {
            return inner.to_owned();
        }
    }
    value.split_whitespace().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_file_is_read_as_a_shell_would() {
        let text = "# 设备标识\nDEVICE_ID=\"DEVICE_001\"\nexport DEVICE_NAME='园区A-设备1' # site A\nOTHER=1\n";
        let file = DeviceFile::parse(text);
        assert_eq!(file.id.as_deref(), Some("DEVICE_001"));
        assert_eq!(file.name.as_deref(), Some("园区A-设备1"));
        assert_eq!(
            DeviceFile::parse("DEVICE_ID=DEVICE_002 # two").id.as_deref(),
            Some("DEVICE_002")
        );
        assert_eq!(DeviceFile::parse("").id, None);
    }
}
