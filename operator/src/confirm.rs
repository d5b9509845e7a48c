//! What a person answers to a question on the terminal.

use crate::show::Show;
use leafcutter_runtime::shutdown::Shutdown;

/// The answer; nothing when the program is to stop.
pub async fn asked(show: &mut Show<'_>, question: &str, shutdown: &Shutdown) -> String {
    show.text(question);
    let (send, receive) = tokio::sync::oneshot::channel();
    // A thread that nothing waits for: it may read until the program has ended.
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().read_line(&mut line);
        send.send(read.map(|_| line).unwrap_or_default())
            .unwrap_or_default();
    });
    let answer = tokio::select! {
        biased;
        () = shutdown.wait() => String::new(),
        answer = receive => answer.unwrap_or_default(),
    };
    answer.trim().to_owned()
}
