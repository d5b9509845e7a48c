//! A program's pages, read over HTTP.

use crate::failure::{Attempt, Failure, Result};
use std::{
    io::{Read as _, Write as _},
    net::TcpStream,
    time::Duration,
};

/// How long a program may take to answer. One that is frozen never does.
const ANSWER: Duration = Duration::from_secs(2);

/// The page of metrics, as Prometheus would get it.
pub(super) fn page(address: &str) -> Result<String> {
    match get(address, "/metrics")? {
        (200, page) => Ok(page),
        (status, page) => Err(Failure::new(format!("no page of metrics: {status} {page}"))),
    }
}

/// The status and the text of a page.
pub(super) fn get(address: &str, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect_timeout(&address.parse()?, ANSWER)?;
    stream.set_read_timeout(Some(ANSWER))?;
    write!(stream, "GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let (head, page) = answer.split_once("\r\n\r\n").unwrap_or_default();
    let status = head.split(' ').nth(1).unwrap_or_default();
    Ok((
        status.parse().attempt(&format!("read {path}"))?,
        page.to_owned(),
    ))
}

/// A counter, summed over its labels; 0 where it never counted.
pub(super) fn counter(page: &str, name: &str) -> u64 {
    let values = page.lines().filter_map(|line| {
        let rest = line.strip_prefix(name)?;
        let (labels, value) = rest.rsplit_once(' ')?;
        let is_it = labels.is_empty() || labels.starts_with('{');
        is_it.then(|| value.parse::<u64>().ok()).flatten()
    });
    values.sum()
}

#[cfg(test)]
mod tests {
    use super::counter;

    #[test]
    fn a_counter_is_the_sum_over_its_labels() {
        let page = "# TYPE records_total counter
records_total{end=\"committed\"} 10
records_total{end=\"rolled_back\"} 5

# TYPE records_total_more counter
records_total_more 100
begun_total 7
";
        assert_eq!(counter(page, "records_total"), 15);
        assert_eq!(counter(page, "begun_total"), 7);
        assert_eq!(counter(page, "ended_total"), 0);
    }
}
