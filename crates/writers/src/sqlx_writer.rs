//! sqlx: text by `raw_sql`, and statements that are prepared once per number of rows.

use crate::telemetry::{Telemetry, UPSERT, transaction, watermark};
use anyhow::Result;
use sqlx::mysql::MySqlConnection;
use sqlx::{Connection, Executor, raw_sql};

/// Numbers of rows for which a statement is prepared.
const BUCKETS: [usize; 3] = [256, 16, 1];

pub(crate) async fn raw(url: &str, transactions: &[Vec<Telemetry>]) -> Result<()> {
    let mut conn = MySqlConnection::connect(url).await?;
    for rows in transactions {
        conn.execute(raw_sql(&transaction(rows))).await?;
    }
    conn.close().await?;
    Ok(())
}

pub(crate) async fn bucketed(url: &str, transactions: &[Vec<Telemetry>]) -> Result<()> {
    let mut conn = MySqlConnection::connect(url).await?;
    let statements = BUCKETS.map(|rows| {
        let places = vec!["(?,?,?,?,?)"; rows].join(",");
        format!("INSERT INTO bench.readings (id,sensor,at,value,unit) VALUES {places}{UPSERT}")
    });
    for rows in transactions {
        conn.execute("START TRANSACTION").await?;
        let mut left = &rows[..];
        for (bucket, sql) in BUCKETS.iter().zip(&statements) {
            while left.len() >= *bucket {
                let (some, rest) = left.split_at(*bucket);
                left = rest;
                let mut query = sqlx::query(sql);
                for row in some {
                    query = query.bind(row.id).bind(row.sensor).bind(&row.at);
                    query = query.bind(row.value).bind(row.unit);
                }
                query.execute(&mut conn).await?;
            }
        }
        conn.execute(raw_sql(&watermark(rows))).await?;
        conn.execute("COMMIT").await?;
    }
    conn.close().await?;
    Ok(())
}
