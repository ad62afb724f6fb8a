//! What the buckets tell of the other workers: who lives, and which shards they were given.

use super::{Finding, Verdict};
use crate::member::{self, Member};
use crate::provision::Provisioned;
use crate::roster;
use crate::settings::Settings;
use crate::shard::Shard;
use futures_util::future::join_all;
use std::sync::Arc;

pub(super) async fn look(settings: &Settings, made: &Provisioned) -> Vec<Finding> {
    let workers = match member::all(&made.workers).await {
        Ok(members) => of_workers(&members),
        Err(error) => Verdict::Bad(error.to_string()),
    };
    let shards: Vec<Arc<Shard>> =
        settings.shards.iter().cloned().map(Shard::new).map(Arc::new).collect();
    join_all(shards.iter().map(|shard| shard.learn_identity())).await;
    let roster = match roster::read(&made.leases).await {
        Ok(roster) => match roster::complaint(&roster::lacking(&roster, &shards)) {
            Some(complaint) => Verdict::Bad(complaint),
            None => Verdict::Good("no worker was given another shard".to_owned()),
        },
        Err(error) => Verdict::Bad(error.to_string()),
    };
    let finding = |subject: &str, verdict| Finding { subject: subject.to_owned(), verdict };
    vec![finding("workers", workers), finding("list of shards", roster)]
}

fn of_workers(members: &[(String, Option<Member>)]) -> Verdict {
    let namesakes: Vec<String> = members
        .iter()
        .filter_map(|(name, member)| {
            let member = member.as_ref()?;
            let other = member.met.as_ref()?;
            Some(format!("{name} runs as {} and was met as {other}", member.place()))
        })
        .collect();
    if !namesakes.is_empty() {
        return Verdict::Doubtful(format!(
            "two workers had one worker.id: {}; give each a worker.id of its own, or leave worker.id out",
            namesakes.join("; ")
        ));
    }
    let alive = members.iter().filter_map(|(name, member)| {
        member.as_ref().map(|member| format!("{name} ({})", member.place()))
    });
    let alive: Vec<String> = alive.collect();
    match alive.len() {
        0 => Verdict::Good("none runs".to_owned()),
        _ => Verdict::Good(alive.join(", ")),
    }
}
