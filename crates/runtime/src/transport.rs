//! Which connections have to be encrypted: all that leave the machine, unless the configuration says otherwise
//! in so many words.

use std::net::IpAddr;

/// True for addresses that never leave this machine: `localhost`, 127.0.0.0/8 and ::1.
pub fn is_loopback(host: &str) -> bool {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback())
}

/// Why a connection to `host` is refused: it would leave the machine in plain text, and nobody said that it may.
/// `None` when it may be made.
pub fn refusal(host: &str, is_encrypted: bool, allow_plaintext: bool) -> Option<String> {
    if is_encrypted || allow_plaintext || is_loopback(host) {
        return None;
    }
    Some(format!(
        "passwords and rows would go to {host} in plain text: turn TLS on, or write allow_plaintext = true where the network itself is trusted"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_addresses_of_this_machine_are_loopback() {
        for host in ["localhost", "LOCALHOST", "127.0.0.1", "127.9.9.9", "::1", "[::1]"] {
            assert!(is_loopback(host), "{host}");
        }
        for host in
            ["localhost.example.com", "10.0.0.1", "128.0.0.1", "::2", "127.0.0.1.nip.io", "db", ""]
        {
            assert!(!is_loopback(host), "{host}");
        }
    }

    #[test]
    fn plain_text_leaves_the_machine_only_where_that_is_written() {
        assert!(
            refusal("db.example.com", false, false)
                .is_some_and(|why| why.contains("allow_plaintext"))
        );
        for (host, is_encrypted, allowed) in [
            ("db.example.com", true, false),
            ("db.example.com", false, true),
            ("127.0.0.1", false, false),
        ] {
            assert_eq!(refusal(host, is_encrypted, allowed), None);
        }
    }
}
