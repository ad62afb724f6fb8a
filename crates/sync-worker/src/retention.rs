//! Devices whose sources are about to purge what is not backed up.

use crate::directory::Knowledge;
use tributary_wire::{DeviceId, Retention};

/// Of the retention, in percent: from here on a device is at risk.
const RISK_PERCENT: u32 = 80;

/// True when little time is left to the device's log.
pub(crate) fn is_at_risk(known: &Knowledge) -> bool {
    known.retention.is_some_and(|retention| retention.used_percent >= RISK_PERCENT)
}

/// Notes what a heartbeat says, and logs when the device comes into danger or out of it. A publisher that
/// was started anew says nothing at first: that changes nothing.
pub(crate) fn told(device: &DeviceId, known: &mut Knowledge, retention: Option<Retention>) {
    let Some(retention) = retention else { return };
    let before = is_at_risk(known);
    known.retention = Some(retention);
    let Retention { seconds_left, used_percent, log_bytes, bytes_per_second } = retention;
    match (before, is_at_risk(known)) {
        (false, true) => tracing::warn!(
            %device, used_percent, seconds_left, log_bytes, bytes_per_second,
            "the device's server will soon purge changes that are not backed up: release the device, bring its shard back, or let its server keep the binary log longer"
        ),
        (true, false) => {
            tracing::info!(%device, used_percent, "the device's binary log is no longer about to be purged unread");
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_is_at_risk_until_it_says_otherwise() {
        let device = "d1".parse().expect("valid");
        let mut known = Knowledge::default();
        let said = |used_percent| {
            Some(Retention {
                seconds_left: Some(60),
                used_percent,
                log_bytes: 1,
                bytes_per_second: None,
            })
        };
        let mut after = |retention| {
            told(&device, &mut known, retention);
            is_at_risk(&known)
        };
        assert!(!after(None) && !after(said(79)));
        assert!(after(said(80)) && after(None));
        assert!(!after(said(0)));
    }
}
