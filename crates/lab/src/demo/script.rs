//! Who is killed when.

use std::time::Duration;

use anyhow::Result;
use tributary_testkit::stack::Stack;

/// The deaths and returns of one round, in order.
pub(super) struct Script {
    acts: Vec<(Duration, Act)>,
}

#[derive(Clone, Copy)]
enum Act {
    KillWorker,
    StartWorker,
    KillPublisher,
    StartPublisher,
    KillNats,
    StartNats,
}

impl Script {
    /// Spreads the acts over `length`.
    pub(super) fn new(length: Duration) -> Script {
        let acts = [
            (20, Act::KillWorker),
            (35, Act::StartWorker),
            (45, Act::KillPublisher),
            (55, Act::StartPublisher),
            (65, Act::KillNats),
            (75, Act::StartNats),
        ];
        let mut acts: Vec<_> = acts.map(|(percent, act)| (length * percent / 100, act)).into();
        acts.reverse();
        Script { acts }
    }

    /// Plays what is due; returns what happened.
    pub(super) fn play(&mut self, elapsed: Duration, stack: &mut Stack) -> Result<Vec<String>> {
        let mut happened = Vec::new();
        while let Some((_, act)) = self.acts.pop_if(|(at, _)| *at <= elapsed) {
            happened.push(act.play(stack)?);
        }
        Ok(happened)
    }
}

impl Act {
    fn play(self, stack: &mut Stack) -> Result<String> {
        Ok(match self {
            Act::KillWorker => {
                stack.workers[0].kill();
                "SIGKILL for worker-0".to_owned()
            }
            Act::StartWorker => {
                stack.workers[0].start()?;
                "worker-0 started again".to_owned()
            }
            Act::KillPublisher => {
                stack.devices[0].publisher.kill();
                format!("SIGKILL for the publisher of {}", stack.devices[0].id)
            }
            Act::StartPublisher => {
                stack.devices[0].publisher.start()?;
                format!("the publisher of {} started again", stack.devices[0].id)
            }
            Act::KillNats => {
                stack.nats.kill();
                "SIGKILL for nats-server".to_owned()
            }
            Act::StartNats => {
                stack.nats.restart()?;
                "nats-server started again".to_owned()
            }
        })
    }
}
