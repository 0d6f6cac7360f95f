namespace Mfrelay.Core;

/// <summary>The catalogue. A code is never given to another meaning, a text never changed in a way that breaks a match on it.</summary>
public static class LogEvents
{
    // Both processes

    public static readonly LogEvent Started = new("INFO_c101", ["what"],
        "{what}を開始しました。", "{what} started.");

    public static readonly LogEvent Stopped = new("INFO_c102", ["what"],
        "{what}を停止しました。", "{what} stopped.");

    public static readonly LogEvent DatabaseBroken = new("WARN_c301", ["file", "aside", "reason"],
        "データベースが壊れているため退避し、キューから再構築します。 {file} -> {aside} ({reason})",
        "The database is broken: moved aside, to be made again from the queue. {file} -> {aside} ({reason})");

    public static readonly LogEvent TableRebuilt = new("INFO_c302", ["file", "count"],
        "キューからデータベースを再構築しました。 {file} 件数={count}", "The database was made again from the queue. {file} deliveries={count}");

    public static readonly LogEvent TableCaughtUp = new("INFO_c303", ["file", "count"],
        "キューにあってデータベースになかった配送を追加しました。 {file} 件数={count}",
        "Deliveries that were in the queue but not in the database were added. {file} deliveries={count}");

    public static readonly LogEvent SpoolDamaged = new("WARN_c304", ["file", "offset", "length", "reason", "aside"],
        "キューの破損した部分を退避しました。 {file} 位置={offset} 長さ={length} ({reason}) -> {aside}",
        "A damaged part of the queue was set aside. {file} offset={offset} length={length} ({reason}) -> {aside}");

    public static readonly LogEvent StoreHasNoRoom = new("WARN_c305", ["file", "reason"],
        "ディスクの空き容量がないためデータベースを更新できません。空きができるまで待機します。 {file} ({reason})",
        "No room on the disk to update the database; waiting for room. {file} ({reason})");

    public static readonly LogEvent Reloaded = new("INFO_c103", ["file", "what"],
        "設定を再読み込みしました。 {file} {what}", "The config was reloaded. {file} {what}");

    public static readonly LogEvent ReloadRefused = new("WARN_c306", ["error"],
        "設定に誤りがあるため再読み込みを行いません。これまでの設定を使用します。 {error}",
        "The config has an error and was not reloaded; the old one stays in force. {error}");

    public static readonly LogEvent NeedsRestart = new("WARN_c307", ["keys"],
        "次の設定の変更は再起動後に有効になります。 {keys}", "A change of these settings takes effect at the next start. {keys}");

    public static readonly LogEvent SpoolNotWritten = new("WARN_c308", ["directory", "reason"],
        "キューに書き込めません。書き込めるまでメールを受け付けません。 {directory} ({reason})",
        "The queue cannot be written; no mail is taken until it can. {directory} ({reason})");

    public static readonly LogEvent EventLogFailed = new("WARN_c393", ["file", "reason"],
        "イベントログに書き込めません。メールの処理は続けます。 {file} ({reason})", "The event log cannot be written; mail goes on without it. {file} ({reason})");

    public static readonly LogEvent EventLogWorks = new("INFO_c193", ["file", "count"],
        "イベントログに再び書き込めるようになりました。 {file} 失われた行数={count}", "The event log is written again. {file} lines lost={count}");

    public static readonly LogEvent LogLinesLost = new("WARN_c391", ["count"],
        "ログを{count}行出力できませんでした。", "{count} log lines were not written.");

    // Metrics

    public static readonly LogEvent MetricsServed = new("INFO_c192", ["address"],
        "メトリクスの提供を開始しました。 http://{address}/metrics", "Metrics are served. http://{address}/metrics");

    public static readonly LogEvent MetricsNotServed = new("WARN_c392", ["address", "reason"],
        "メトリクスを提供できません。メールの処理は続けます。 {address} ({reason})", "Metrics cannot be served; mail goes on. {address} ({reason})");

    public static readonly LogEvent Unexpected = new("ERROR_c401", ["where", "error"],
        "予期しないエラーが発生しました。 {where}: {error}", "Unexpected error. {where}: {error}");

    // mf-smtp-server

    public static readonly LogEvent Accepted = new("INFO_a101", ["id", "from", "to", "count", "size", "client", "helo", "proto", "delay"],
        "{id} メールを受け付けました。 from=<{from}> to=<{to}> nrcpt={count} size={size} client={client} helo={helo} proto={proto} delay={delay}",
        "{id} accepted. from=<{from}> to=<{to}> nrcpt={count} size={size} client={client} helo={helo} proto={proto} delay={delay}");

    public static readonly LogEvent Refused = new("INFO_a102", ["client", "from", "to", "stage", "reply"],
        "メールを拒否しました。 client={client} from=<{from}> to=<{to}> stage={stage} reply={reply}",
        "Refused. client={client} from=<{from}> to=<{to}> stage={stage} reply={reply}");

    public static readonly LogEvent SessionLost = new("INFO_a103", ["client", "from", "stage", "reason"],
        "クライアントとの接続が切れました。メールは受け付けていません。 client={client} from=<{from}> stage={stage} ({reason})",
        "The client is gone; nothing was accepted from this transaction. client={client} from=<{from}> stage={stage} ({reason})");

    public static readonly LogEvent Listening = new("INFO_a104", ["address"],
        "接続の受け付けを開始しました。 {address}", "Listening. {address}");

    // The door of mf-smtp-server: TLS, AUTH, limits (a11x to a19x, a31x to a39x)

    public static readonly LogEvent Authenticated = new("INFO_a111", ["client", "user", "mechanism"],
        "認証に成功しました。 client={client} user={user} mechanism={mechanism}", "Authenticated. client={client} user={user} mechanism={mechanism}");

    public static readonly LogEvent CertificateLoaded = new("INFO_a112", ["file", "until"],
        "証明書を読み込みました。 {file} 有効期限={until}", "The certificate was loaded. {file} until={until}");

    public static readonly LogEvent LimitReached = new("WARN_a311", ["limit", "client"],
        "制限に達しました。 limit={limit} client={client}", "A limit was reached. limit={limit} client={client}");

    public static readonly LogEvent AuthFailed = new("WARN_a312", ["client", "user", "mechanism"],
        "認証に失敗しました。 client={client} user={user} mechanism={mechanism}", "Authentication failed. client={client} user={user} mechanism={mechanism}");

    public static readonly LogEvent TlsFailed = new("WARN_a313", ["client", "reason"],
        "TLSを開始できませんでした。 client={client} ({reason})", "TLS could not be started. client={client} ({reason})");

    public static readonly LogEvent PlaintextDropped = new("WARN_a314", ["client", "octets"],
        "STARTTLSの後に暗号化されていないデータを受信したため破棄しました。 client={client} octets={octets}",
        "Plaintext behind STARTTLS was thrown away. client={client} octets={octets}");

    public static readonly LogEvent ProxyRefused = new("WARN_a315", ["client", "reason"],
        "PROXYヘッダーを受け付けられないため切断しました。 client={client} ({reason})", "Closed: no PROXY header that is believed. client={client} ({reason})");

    public static readonly LogEvent CertificateBad = new("WARN_a316", ["file", "reason"],
        "証明書を読み込めません。以前の証明書があればそれを使用します。 {file} ({reason})",
        "The certificate cannot be loaded; an older one stays in use if there is one. {file} ({reason})");

    public static readonly LogEvent UsersBad = new("WARN_a317", ["file", "reason"],
        "ユーザーファイルを読み込めません。誰も認証できません。 {file} ({reason})", "The users file cannot be read; nobody can authenticate. {file} ({reason})");

    public static readonly LogEvent ConfigWarning = new("WARN_a318", ["warning"],
        "設定に関する警告です。 {warning}", "A warning about the config. {warning}");

    public static readonly LogEvent SocketUnused = new("WARN_a391", ["socket"],
        "mf-smtp-server.socketのソケットに対応するserver.listenの設定がありません。このアドレスへの接続には応答しません。 {socket}",
        "No listener of the config is for this socket of mf-smtp-server.socket; connections to it are not answered. {socket}");

    // Health, mf-smtp-server (S3 to S6)

    public static readonly LogEvent CheckStarts = new("INFO_a202", ["address", "domain"],
        "メールサーバーの確認を開始します。 {address}({domain})", "Checking the mail server. {address}({domain})");

    public static readonly LogEvent CheckSucceeded = new("INFO_a203", ["address", "domain"],
        "メールサーバーの確認が終了しました。 {address}({domain})", "The mail server was checked. {address}({domain})");

    public static readonly LogEvent ConnectFailed = new("WARN_a301", ["address", "domain"],
        "サーバーへの接続に失敗しました。該当のサーバーを使用するメールの送信は行えません。 {address}",
        "Cannot connect to the mail server; mail that uses it cannot be sent. {address}");

    public static readonly LogEvent DialogFailed = new("WARN_a302", ["address", "domain"],
        "サーバー情報取得中にエラーが発生しました。 {address}",
        "The mail server answers, but its greeting or EHLO reply is not good. {address}");

    // Check list, mf-smtp-client (C2, C3, C6)

    public static readonly LogEvent Listed = new("INFO_b211", ["address", "domain"],
        "接続を行うことができなかったため、確認リストに登録します。確認リストに登録されたメールサーバーを使用したメールの送信は行われません。 {domain}({address})",
        "Cannot connect: put on the check list; nothing is sent through a mail server on it. {domain}({address})");

    public static readonly LogEvent Unlisted = new("INFO_b212", ["address", "domain"],
        "接続の確認を行うことができたため、確認リストから解除します。このメールサーバーを使用してメールの送信を行うことができます。 {domain}({address})",
        "Connected: taken off the check list; mail can be sent through this mail server. {domain}({address})");

    public static readonly LogEvent CommunicationTimedOut = new("INFO_b303", ["id", "host", "port"],
        "メール送信サーバーとの通信中にタイムアウトになりました。ID={id} Host={host} Port={port}",
        "Timed out talking to the mail server. ID={id} Host={host} Port={port}");

    // Drains, mf-smtp-client

    public static readonly LogEvent Drained = new("INFO_b221", ["address", "reason"],
        "管理者の指示により、このメールサーバーへの送信を停止します。 {address} ({reason})",
        "Drained by the operator: nothing is sent through this mail server. {address} ({reason})");

    public static readonly LogEvent Undrained = new("INFO_b222", ["address"],
        "このメールサーバーへの送信を再開します。 {address}", "No longer drained: mail can be sent through this mail server. {address}");

    // Alerts, mf-smtp-client (B6)

    public static readonly LogEvent AlertRaised = new("WARN_b231", ["rule", "subject", "value"],
        "アラートが発生しました。 {rule} {subject} {value}", "Alert. {rule} {subject} {value}");

    public static readonly LogEvent AlertCleared = new("INFO_b232", ["rule", "subject"],
        "アラートが解消しました。 {rule} {subject}", "The alert is over. {rule} {subject}");

    public static readonly LogEvent AlertHookFailed = new("WARN_b233", ["program", "reason"],
        "アラートの通知プログラムを実行できません。 {program} ({reason})", "The program for alerts failed. {program} ({reason})");

    public static readonly LogEvent AlertWebhookFailed = new("WARN_b234", ["url", "reason"],
        "アラートをWebhookで通知できません。 {url} ({reason})", "The webhook for alerts failed. {url} ({reason})");

    // mf-smtp-client

    public static readonly LogEvent AttemptEnded = new("INFO_b101",
        ["id", "from", "host", "port", "delivered", "deferred", "failed", "size", "delay", "seconds"],
        "{id} 送信を行いました。 from=<{from}> host={host} port={port} sent={delivered} deferred={deferred} failed={failed} size={size} delay={delay} time={seconds}",
        "{id} attempt ended. from=<{from}> host={host} port={port} sent={delivered} deferred={deferred} failed={failed} size={size} delay={delay} time={seconds}");

    public static readonly LogEvent Delivered = new("INFO_b102", ["id", "from", "to", "host", "port", "size", "delay", "reply"],
        "{id} メールを送信しました。 from=<{from}> to=<{to}> host={host} port={port} size={size} delay={delay} reply={reply}",
        "{id} delivered. from=<{from}> to=<{to}> host={host} port={port} size={size} delay={delay} reply={reply}");

    public static readonly LogEvent Deferred = new("INFO_b103", ["id", "from", "to", "host", "port", "size", "delay", "next", "reply"],
        "{id} 送信を延期しました。 from=<{from}> to=<{to}> host={host} port={port} size={size} delay={delay} next={next} reply={reply}",
        "{id} deferred. from=<{from}> to=<{to}> host={host} port={port} size={size} delay={delay} next={next} reply={reply}");

    public static readonly LogEvent Failed = new("WARN_b108", ["id", "from", "to", "host", "port", "size", "delay", "status", "reply"],
        "{id} 配送できません。再送は行いません。 from=<{from}> to=<{to}> host={host} port={port} size={size} delay={delay} status={status} reply={reply}",
        "{id} failed; not tried again. from=<{from}> to=<{to}> host={host} port={port} size={size} delay={delay} status={status} reply={reply}");

    public static readonly LogEvent NoticeQueued = new("INFO_b109", ["id", "notice", "to", "count", "kind"],
        "{id} 送信者への通知をキューに入れました。 {notice} to=<{to}> nrcpt={count} kind={kind}",
        "{id} a notice to the sender was queued. {notice} to=<{to}> nrcpt={count} kind={kind}");

    public static readonly LogEvent BounceDropped = new("WARN_b110", ["id", "to", "status", "reply"],
        "{id} 送信者のないメール (エラー通知など) を配送できないため破棄しました。 to=<{to}> status={status} reply={reply}",
        "{id} mail with the null reverse-path cannot be delivered and was dropped. to=<{to}> status={status} reply={reply}");

    public static readonly LogEvent NoticeFailed = new("WARN_b111", ["id", "reason"],
        "{id} 送信者への通知をキューに入れられません。メールはキューに残します。 ({reason})",
        "{id} a notice to the sender cannot be queued; the message stays in the queue. ({reason})");

    public static readonly LogEvent SentEightBit = new("INFO_b112", ["id", "host", "port"],
        "{id} 8BITMIME に対応していないサーバーへ 8 ビットのメールをそのまま送信しました。 host={host} port={port}",
        "{id} 8-bit mail was sent as it is to a mail server without 8BITMIME. host={host} port={port}");

    public static readonly LogEvent Uncertain = new("WARN_b105", ["id", "from", "host", "port", "reason"],
        "{id} 送信の最終応答を受信できませんでした。重複して届く可能性があります。 from=<{from}> host={host} port={port} ({reason})",
        "{id} uncertain: mail data was sent, its reply did not come; it may arrive twice. from=<{from}> host={host} port={port} ({reason})");

    // How mf-smtp-client lives with the machine (b12x)

    public static readonly LogEvent ClockJumped = new("WARN_b120", ["by"],
        "時計が変更されました。待機中のメールの送信予定時刻を合わせて変更します。 {by}",
        "The clock was set; the next attempts of what waits are moved with it. {by}");

    public static readonly LogEvent Unreadable = new("ERROR_b401", ["id", "position", "reason"],
        "{id} キューのメールを読み出せません。 {position} ({reason})", "{id} cannot be read from the queue. {position} ({reason})");

    public static readonly LogEvent JournalFailed = new("WARN_b107", ["id", "reason"],
        "{id} 送信は完了しましたが、記録できません。記録できるまで待機します。停止すると重複して届く可能性があります。 ({reason})",
        "{id} is settled, but that cannot be written down; waiting until it can. Stopped before, it may arrive twice. ({reason})");

    public static readonly LogEvent NoRoute = new("WARN_b106", ["id", "route"],
        "{id} 送信先のメールサーバーが設定されていません。キューに残します。 {route}",
        "{id} no mail server is registered for its route any more; kept in the queue. {route}");
}
