//! What `check` says of the filter.

use super::Check;
use crate::Error;
use crate::config::Config;
use crate::filter::{Filter, survey};
use crate::source::{Facts, Source};

/// Holds the filter against the server's tables.
pub(super) async fn checks(config: &Config, source: &mut Source, facts: &Facts) -> Vec<Check> {
    let fix = "correct the filter section (docs/configuration.md)";
    let filter = match Filter::new(&config.filter) {
        Ok(filter) if filter.is_empty() => return Vec::new(),
        Ok(filter) => filter.folding_case(facts.folds_names()),
        Err(error) => return vec![Check::fail(error.to_string(), fix)],
    };
    let survey = match survey::look(source, &filter, None).await {
        Ok(survey) => survey,
        Err(Error::SourceRefused { reason, .. }) => {
            return vec![Check::fail(
                format!("the filter cannot be looked at: {reason}"),
                "grant SELECT",
            )];
        }
        Err(error) => {
            return vec![Check::warn(
                format!("the filter cannot be looked at: {error}"),
                "try again",
            )];
        }
    };
    let mut checks = vec![Check::ok(format!(
        "the filter carries {} tables and views, leaves {} on the device, and leaves out or masks {} columns",
        survey.carried, survey.left, survey.columns
    ))];
    checks.extend(survey.faults.into_iter().map(|fault| {
        let (what, remedy) = fault.rsplit_once(": ").unwrap_or((fault.as_str(), fix));
        Check::fail(format!("filter: {what}"), remedy)
    }));
    let case = if facts.folds_names() {
        "names have no case here"
    } else {
        "case counts here, but for columns"
    };
    checks.extend(survey.idle.into_iter().map(|pattern| {
        Check::warn(
            format!("filter pattern {pattern:?} matches nothing on this server"),
            format!("correct or remove it ({case}), or leave it for what is still to be created"),
        )
    }));
    checks
}
