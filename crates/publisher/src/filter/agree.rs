//! At the start of an attempt: can the filter be kept on this server, and does it go on from the one
//! under which the device was published before?

use super::{Filter, Remembered, survey};
use crate::Error;
use crate::checkpoint::Checkpoint;
use crate::origin::Origin;
use crate::session::Agent;
use crate::source::{Facts, Source};
use std::sync::Arc;

/// Compiles the filter for this server and holds it against the server's tables. From here on the
/// checkpoint says that the device is published under it.
///
/// # Errors
/// [`Error::Filter`] for what it cannot do exactly; [`Error::FilterWidened`] when it carries what a former
/// one left on the device: rows of it would be missing at the target.
pub(crate) async fn agree(
    agent: &mut Agent,
    source: &mut Source,
    facts: &Facts,
    origin: &Origin,
) -> Result<Arc<Filter>, Error> {
    let now = Remembered::of(&agent.config.filter);
    let filter = for_server(agent, facts)?;
    if origin.beginning {
        // Nothing of it is at the target, under whatever filter.
        agent.forget_checkpoint();
    }
    // What a snapshot brings anew was not left by a former filter. The checkpoint says so once the first
    // batch of the snapshot is stored.
    let known = agent.checkpoint.as_ref().filter(|_| !origin.anew);
    let known = known.map(|checkpoint| checkpoint.filter.clone());
    let changed = known.as_ref().filter(|known| **known != now);
    let former = changed.map(|former| former.filter().map_err(|error| unusable(error.to_string())));
    let former = former.transpose()?.map(|former| former.folding_case(facts.folds_names()));
    if filter.has_column_rules() || former.is_some() {
        let same_salt = known.as_ref().is_none_or(|k| k.salt_fingerprint == now.salt_fingerprint);
        let former = former.as_ref().map(|former| (former, same_salt));
        let survey = survey::look(source, &filter, former).await?;
        if !survey.faults.is_empty() {
            return Err(Error::Filter { faults: survey.faults });
        }
        if !survey.widened.is_empty() {
            let path = agent.checkpoints.path().to_owned();
            return Err(Error::FilterWidened { what: survey.widened.join(", "), path });
        }
    }
    remember(agent, facts, known.as_ref(), now, origin)?;
    Ok(Arc::new(filter))
}

/// The configured filter, as it decides on this server.
fn for_server(agent: &Agent, facts: &Facts) -> Result<Filter, Error> {
    let filter = Filter::new(&agent.config.filter).map_err(|error| unusable(error.to_string()))?;
    Ok(filter.folding_case(facts.folds_names()))
}

fn unusable(fault: String) -> Error {
    Error::Filter { faults: vec![fault] }
}

/// Writes the filter down before anything is left out under it: what is left now must not be taken for
/// carried by a later start.
fn remember(
    agent: &mut Agent,
    facts: &Facts,
    known: Option<&Remembered>,
    now: Remembered,
    origin: &Origin,
) -> Result<(), Error> {
    if origin.anew || known == Some(&now) || (known.is_none() && now.is_empty()) {
        return Ok(());
    }
    let device = &agent.device;
    if known.is_none() {
        tracing::warn!(%device, "there is no record here of the filter under which this device was published before; what that one left on the device and this one carries is missing at the target");
    } else {
        tracing::warn!(%device, "the filter leaves or masks more than before; what was carried before stays at the target as it is");
    }
    let checkpoint = match agent.checkpoint.clone() {
        Some(known) => Checkpoint { filter: now, ..known },
        // A place in another server's log.
        None if origin.elsewhere.is_some() => return Ok(()),
        None => Checkpoint {
            device: agent.device.clone(),
            source: facts.identity.clone(),
            position: origin.position,
            resume: origin.resume.clone(),
            filter: now,
        },
    };
    let path = agent.checkpoints.path().to_owned();
    let stored = agent.checkpoints.store(&checkpoint);
    stored.map_err(|source| Error::State { path, source })?;
    agent.checkpoint = Some(checkpoint);
    Ok(())
}
