//! nats-server: start, kill, restart, wipe, fail.

use anyhow::Result;
use async_nats::jetstream::{self, stream};
use tributary_testkit::{NatsOptions, NatsServer};

async fn jetstream(server: &NatsServer) -> Result<jetstream::Context> {
    Ok(jetstream::new(async_nats::connect(server.url()).await?))
}

async fn publish(server: &NatsServer, count: usize) -> Result<()> {
    let jetstream = jetstream(server).await?;
    let config = stream::Config {
        name: "S".to_owned(),
        subjects: vec!["s.>".to_owned()],
        ..stream::Config::default()
    };
    jetstream.create_stream(config).await?;
    for _ in 0..count {
        jetstream.publish("s.a", "payload".into()).await?.await?;
    }
    Ok(())
}

#[tokio::test]
async fn a_stream_survives_kill_and_restart_on_the_same_port() -> Result<()> {
    let mut server = NatsServer::start(&NatsOptions::default())?;
    let port = server.port();
    publish(&server, 10).await?;

    server.kill();
    assert!(async_nats::connect(server.url()).await.is_err(), "nothing listens while it is down");
    server.restart()?;
    assert_eq!(server.port(), port);
    let mut stream = jetstream(&server).await?.get_stream("S").await?;
    assert_eq!(stream.info().await?.state.messages, 10);
    Ok(())
}

#[tokio::test]
async fn wiping_a_stopped_server_deletes_its_streams() -> Result<()> {
    let mut server = NatsServer::start(&NatsOptions::default())?;
    publish(&server, 1).await?;
    assert!(server.wipe().is_err(), "a running server is not wiped");
    server.stop()?;
    server.wipe()?;
    server.restart()?;
    assert!(jetstream(&server).await?.get_stream("S").await.is_err());
    Ok(())
}

#[tokio::test]
async fn further_configuration_reaches_the_server() -> Result<()> {
    let mut server = NatsServer::start(&NatsOptions::with_config("max_payload: 2MB"))?;
    let max_payload = async_nats::connect(server.url()).await?.server_info().max_payload;
    assert_eq!(max_payload, 2 * 1024 * 1024);
    server.set_config("max_payload: 3MB");
    server.restart()?;
    let max_payload = async_nats::connect(server.url()).await?.server_info().max_payload;
    assert_eq!(max_payload, 3 * 1024 * 1024);
    Ok(())
}

#[test]
fn a_wrong_configuration_shows_the_end_of_the_log() {
    let error = NatsServer::start(&NatsOptions::with_config("no_such_setting: 1"));
    let text = format!("{:#}", error.expect_err("the setting does not exist"));
    assert!(text.contains("no_such_setting"), "{text}");
}
