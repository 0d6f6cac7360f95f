using System.CommandLine;

namespace Mfrelay.Cli;

/// <summary>What "--help" says, in Japanese: by the English text that stands with each command, so that nothing has two places. A test finds what lacks.</summary>
internal static class JapaneseHelp
{
    private static readonly Dictionary<string, string> Texts = new(StringComparer.Ordinal)
    {
        // Headings, and what System.CommandLine says itself.
        ["Description:"] = "説明:",
        ["Usage:"] = "使い方:",
        ["Arguments:"] = "引数:",
        ["Options:"] = "オプション:",
        ["Commands:"] = "コマンド:",
        ["Examples:"] = "例:",
        ["Show help and usage information"] = "使い方を表示する",
        ["Show version information"] = "バージョンを表示する",

        ["The mail relay's command: look at its queue, its mail servers and its configuration, change what waits, ask what would happen."] =
            "メールリレーの操作: キュー、メールサーバー、設定を調べる。待機中のメールを変更する。何が起こるかを試す",
        ["is all well?"] = "すべて正常か",
        ["what waits, and why"] = "何がなぜ待機しているか",
        ["what became of a message"] = "メールがどうなったか",
        ["a command's options and examples"] = "コマンドのオプションと例",
        ["The config file."] = "設定ファイル",
        ["Print the result as JSON on standard output."] = "結果を JSON で標準出力に出力する",

        ["Look at the configuration."] = "設定を調べる",
        ["The config file; conf.d/*.toml beside it belongs to it."] = "設定ファイル。同じ場所の conf.d/*.toml も含む",
        ["Read the configuration as the daemons do and print every error in it (exit status 78)."] =
            "デーモンと同じように設定を読み、すべての誤りを表示する (誤りがあれば終了コード 78)",
        ["before a reload: is it right?"] = "再読み込みの前に: 正しいか",
        ["and what would it change?"] = "何が変わるか",
        ["checks /etc/mfrelay/mfrelay.toml and its conf.d"] = "/etc/mfrelay/mfrelay.toml とその conf.d を調べる",
        ["checks a file before it is put in place"] = "置き換える前のファイルを調べる",
        ["gives the errors to a program"] = "誤りをプログラムに渡す",
        ["Print every setting with the value in force, conf.d and defaults included."] = "すべての設定を有効な値で表示する (conf.d と既定値を含む)",
        ["Compare the config with what the daemons run on (exit status 1: they differ, or none runs)."] =
            "設定ファイルとデーモンが使用中の設定を比べる (終了コード 1: 異なる、または動作していない)",
        ["is itself a config file"] = "出力はそのまま設定ファイルになる",
        ["one of them"] = "そのうちの1つ",
        ["what mfrelay reload would change"] = "mfrelay reload で変わるもの",
        ["for a script"] = "スクリプト用",

        ["End after the first round trip: 0 when it succeeded, 1 when it did not within 30 s."] =
            "最初の1通が届いたら終了する (終了コード 0: 成功、1: 30秒以内に届かなかった)",
        ["Leave the temporary directory with config, spool and database."] = "設定、スプール、データベースのある一時ディレクトリーを残す",
        ["Loopback port for mf-smtp-server to listen on. Unless given: 2525, or a free one when that is taken."] =
            "mf-smtp-server が待ち受けるループバックのポート。省略時は 2525、使用中なら空いているポート",
        ["Run both daemons in a temporary directory with a small receiving server behind them, and send mail through."] =
            "一時ディレクトリーで両方のデーモンと小さな受信サーバーを動かし、メールを通す",
        ["stays up until Ctrl-C for mail of your own"] = "Ctrl-C まで動作し、任意のメールを送れる",
        ["shows that the relay works here"] = "このマシンで動作することを確かめる",
        ["leaves the files of it to look at"] = "ファイルを残して後で調べる",

        ["host, host:port or domain; none: show what is drained."] = "ホスト、ホスト:ポート、またはドメイン。省略時は停止中のものを表示する",
        ["Ends by itself after so long: 30m, 2h."] = "この時間がたつと自動で再開する: 30m, 2h",
        ["For the log and for whoever looks."] = "ログと表示のための理由",
        ["Send nothing through a mail server until it is resumed; its mail goes to the others of its domain, or waits."] =
            "再開するまでメールサーバーへの送信を停止する。メールは同じドメインのほかのサーバーに送るか、待機させる",
        ["host, host:port or domain."] = "ホスト、ホスト:ポート、またはドメイン",
        ["End a drain; mail waits for its next attempt as after the check list (exit status 1: nothing was drained)."] =
            "停止を解除する。メールは確認リストからの解除と同じく次の送信時刻を待つ (終了コード 1: 停止されていない)",
        ["all entries with this host"] = "このホストの登録すべて",
        ["what is drained now"] = "現在停止中のもの",
        ["ends it"] = "停止を解除する",
        ["mail can be sent through it again"] = "再び送信できるようになる",
        ["and is tried now"] = "続けて今すぐ送信する",

        ["Those of this host, host:port or domain; all registered mail servers without it."] =
            "このホスト、ホスト:ポート、ドメインのもの。省略時は登録されたすべてのメールサーバー",
        ["Check mail servers now and print each step of the dialog (exit status 0: all are reached, 1: not)."] =
            "メールサーバーを今すぐ確認し、対話の各段階を表示する (終了コード 0: すべて接続可、1: それ以外)",
        ["checks all registered mail servers"] = "登録されたすべてのメールサーバーを確認する",
        ["checks one"] = "1つを確認する",
        ["gives the result for a domain's mail servers to a program"] = "ドメインのメールサーバーの結果をプログラムに渡す",
        ["Show the mail servers as mf-smtp-server and mf-smtp-client see them, and the mail that waits."] =
            "mf-smtp-server と mf-smtp-client から見たメールサーバーの状態と、待機中のメールを表示する",
        ["a line for each mail server"] = "メールサーバーごとに1行",
        ["those that the server does not reach"] = "mf-smtp-server が接続できないもの",
        ["checks all of them now"] = "すべてを今すぐ確認する",

        ["By the sender's domain instead of the recipient's."] = "受信者ではなく送信者のドメインで集計する",
        ["Show how old the mail of each domain is: deliveries by minutes in the queue."] = "ドメインごとの滞留時間を表示する: キューに入ってからの分数別の件数",
        ["domains with most mail first; numbers to the right are stuck"] = "件数の多いドメインから。右側の数字ほど長く滞留している",
        ["whose mail it is"] = "誰のメールか",
        ["Do not ask."] = "確認せずに実行する",
        ["one message"] = "1通",
        ["all that has waited for long"] = "長く待機しているものすべて",
        ["Try mail now, once, even where its mail server is on the check list (exit status 1: nothing matches)."] =
            "確認リストにあるメールサーバー宛てでも、今すぐ1回送信する (終了コード 1: 該当なし)",
        ["Keep mail in the queue without trying it, until it is released (exit status 1: nothing matches)."] =
            "解除するまで送信せずにキューに保留する (終了コード 1: 該当なし)",
        ["End a hold; mail goes on by its schedule (exit status 1: nothing matches)."] = "保留を解除する。予定どおりに送信される (終了コード 1: 該当なし)",
        ["Route mail anew by the present config, and try it at once (exit status 1: nothing matches)."] =
            "現在の設定で経路を選び直し、すぐに送信する (終了コード 1: 該当なし)",
        ["Send mail back to its senders now (exit status 1: nothing matches)."] = "今すぐ送信者に返送する (終了コード 1: 該当なし)",
        ["Remove mail for good; nobody is told (exit status 1: nothing matches)."] = "完全に削除する。誰にも通知されない (終了コード 1: 該当なし)",
        ["Show how much mail waits for each domain and why; look at it and change it."] =
            "ドメインごとの待機中のメールの量と理由を表示する。内容を調べ、変更する",
        ["a line for each domain"] = "ドメインごとに1行",
        ["how many in all"] = "全体の件数",
        ["what is stuck"] = "滞留しているもの",
        ["tries it now"] = "今すぐ送信する",
        ["Where the files go; made when it is missing."] = "ファイルの出力先。なければ作成する",
        ["Copy queued mail to files: QUEUE-ID.eml and QUEUE-ID.json, the envelope (exit status 1: nothing matches)."] =
            "キューのメールをファイルに写す: キューID.eml と、エンベロープの キューID.json (終了コード 1: 該当なし)",
        ["then: mfrelay queue delete --domain example.com"] = "続けて: mfrelay queue delete --domain example.com",
        ["on another machine sends it on its way"] = "別のマシンで配送を続ける",
        ["Queue ids; none: all that the options let through."] = "キューID。省略時はオプションに該当するものすべて",
        ["Route or recipient's domain; * and ? stand for characters."] = "経路または受信者のドメイン。* と ? を使用できる",
        ["Reverse-path; * and ? stand for characters, <> is the empty one."] = "エンベロープの送信者。* と ? を使用できる。<> は空の送信者",
        ["A forward-path; * and ? stand for characters."] = "エンベロープの受信者。* と ? を使用できる",
        ["In the queue for at least so long: 30m, 4h, 2d."] = "キューに入ってからこの時間以上たつもの: 30m, 4h, 2d",
        ["Where it stands; deferred waits for its next attempt, due may be tried now."] =
            "状態。held は保留、deferred は次の送信時刻を待つもの、due は今すぐ送信できるもの",
        ["Where queue export wrote to."] = "queue export の出力先",
        ["Hand exported mail to the running mf-smtp-server; what it took is renamed to .imported (exit status 1: not all)."] =
            "書き出したメールを動作中の mf-smtp-server に渡す。受け付けられたものは .imported に改名する (終了コード 1: 一部が残った)",
        ["run again, it goes on where it stopped"] = "もう一度実行すると続きから始まる",
        ["what the server did not take"] = "受け付けられなかったもの",
        ["What comes first: oldest arrival, next attempt, largest size, most attempts, or by the alphabet."] =
            "並べ方。arrival は古い順、next は次回送信の早い順、size は大きい順、attempts は試行の多い順、sender と domain はアルファベット順",
        ["Most lines; 0 is no limit."] = "最大の行数。0 は無制限",
        ["List deliveries (exit status 1: nothing matches)."] = "配送を一覧表示する (終了コード 1: 該当なし)",
        ["the oldest 100"] = "古いものから100件",
        ["what is tried next"] = "次に送信されるもの",
        ["all from there, for a program"] = "そこからのすべて、プログラム用",
        ["A queue id."] = "キューID",
        ["Show a message's envelope, its attempts and when it is tried next (exit status 1: not in the queue)."] =
            "メールのエンベロープ、送信の試行、次回の送信時刻を表示する (終了コード 1: キューにない)",
        ["Print a message as it was received, our Received field in front (exit status 1: not in the queue)."] =
            "受け付けたままのメールを、先頭に加えた Received フィールドとともに出力する (終了コード 1: キューにない)",
        ["the id is in the log and in the Received field"] = "ID はログと Received フィールドにある",
        ["for a program"] = "プログラム用",
        ["keeps a copy"] = "写しを取る",
        ["a look at its header"] = "ヘッダーを見る",

        ["Check the configuration, then have the running daemons take it over; nothing in flight is cut."] =
            "設定を調べてから、動作中のデーモンに再読み込みさせる。処理中のものは中断されない",
        ["tells both daemons; a config with an error is refused before that (exit status 78)"] =
            "両方のデーモンに指示する。設定に誤りがあれば指示しない (終了コード 78)",
        ["then shows what they took over"] = "何が変わったかを見る",
        ["The recipient."] = "受信者",
        ["The sender: its own domain may be down too."] = "送信者。そのドメインのメールサーバーも確認の対象になる",
        ["Show which way mail for an address takes and which reply its sender would get now (exit status 0: accepted, 1: refused)."] =
            "アドレス宛てのメールの経路と、今送信した場合の応答を表示する (終了コード 0: 受け付け、1: 拒否)",
        ["route, mail servers, reply"] = "経路、メールサーバー、応答",
        ["with a sender whose domain may be registered"] = "登録されたドメインの送信者の場合",
        ["250, 421 or 550"] = "250, 421, 550 のどれか",
        ["The sender; empty is the null reverse-path."] = "送信者。空は空のリバースパス",
        ["Of the test mail."] = "テストメールの件名",
        ["Send a test mail through mf-smtp-server and show the dialog (exit status 1: it was refused)."] =
            "mf-smtp-server を通してテストメールを送り、対話を表示する (終了コード 1: 拒否された)",
        ["does it get in?"] = "受け付けられるか",
        ["with a sender; the last reply has the queue id"] = "送信者を指定する。最後の応答にキューIDがある",

        ["A mail server (host, host:port) or all of a domain go down: NAME@HH:MM+DURATION. May be given several times."] =
            "メールサーバー (ホスト、ホスト:ポート) またはドメインのすべてが停止する: 名前@時:分+時間。複数指定できる",
        ["Mail comes: \"DOMAIN every DURATION\". May be given several times."] = "メールが届く: \"ドメイン every 間隔\"。複数指定できる",
        ["How long, from 00:00; up to 744."] = "00:00 からの時間数。744 まで",
        ["Show in virtual time what both processes would do when mail servers go down: checks, log lines, 421, queue, retries."] =
            "メールサーバーが停止したときの両プロセスの動作を仮想時間で表示する: 確認、ログ、421、キュー、再送",
        ["three hours without the mail servers of a domain"] = "ドメインのメールサーバーが3時間停止した場合",
        ["ninety seconds without one of them"] = "そのうちの1つが90秒停止した場合",
        ["only the totals"] = "合計のみ",

        ["Show daemons, rates, queue, mail servers and alerts on one screen (exit status 1: a daemon does not run)."] =
            "デーモン、処理量、キュー、メールサーバー、アラートを1画面に表示する (終了コード 1: 動作していないデーモンがある)",
        ["Show the version of this program and of the daemons that run (exit status 1: they differ)."] =
            "このプログラムと動作中のデーモンのバージョンを表示する (終了コード 1: 異なる)",
        ["and does it stay so?"] = "その後も正常か",
        ["after an upgrade: does everything run the new one?"] = "更新の後に: すべて新しいものか",
        ["Print a JSON object for each look, on a line of its own."] = "1回ごとに JSON を1行で出力する",
        ["Look once, print it, end."] = "1回だけ表示して終了する",
        ["How long between two looks, at least 200ms."] = "表示の間隔。200ms 以上",
        ["Watch daemons, rates, queue, mail servers and alerts; q or Ctrl-C ends it."] =
            "デーモン、処理量、キュー、メールサーバー、アラートを表示し続ける。q または Ctrl-C で終了する",
        ["a screen that is renewed each second"] = "毎秒更新される画面",
        ["tables one after the other: not a terminal"] = "端末以外では表を続けて出力する",

        ["A queue id, a Message-ID with or without its brackets, or the address of a sender or recipient."] =
            "キューID、Message-ID (<> はなくてもよい)、または送信者か受信者のアドレス",
        ["Only messages that something happened to since then: 2h, 3d, 2026-11-24 or 2026-11-24T10:30."] =
            "これ以降に動きのあったメールのみ: 2h, 3d, 2026-11-24, 2026-11-24T10:30",
        ["Most messages to show, the newest."] = "表示する最大の件数。新しいものを優先する",
        ["Show what became of a message, step by step, from the event logs of both daemons (exit status 1: nothing found)."] =
            "両デーモンのイベントログから、メールがどうなったかを順に表示する (終了コード 1: 見つからない)",
        ["a message and its bounce"] = "メールとその返送",
        ["by its Message-ID"] = "Message-ID で探す",
        ["what was sent by or to somebody, also what was refused"] = "ある人が送受信したもの。拒否されたものも含む",

        ["The users that may send after AUTH (server.users_file)."] = "AUTH の後に送信できるユーザー (server.users_file)",
        ["The user's name, as the mail client sends it."] = "メールクライアントが送るユーザー名",
        ["Rounds of PBKDF2: more are slower for a thief, and for every AUTH."] = "PBKDF2 の反復回数。多いほど盗難に強いが、AUTH ごとの処理も遅くなる",
        ["Add a user, or give one a new password; the password is asked for, or read from standard input."] =
            "ユーザーを追加する、またはパスワードを変更する。パスワードは入力するか、標準入力から読み取る",
        ["The user's name."] = "ユーザー名",
        ["Remove a user: the next AUTH fails; sessions that are open go on."] = "ユーザーを削除する。次の AUTH は失敗する。接続中のセッションは続く",
        ["List the users."] = "ユーザーを一覧表示する",
        ["asks for a password twice"] = "パスワードを2回たずねる",
        ["who may send"] = "送信できるユーザー",
        ["takes a random one"] = "ランダムなパスワードを使う",
        ["takes alice's right to send"] = "alice は送信できなくなる",
        ["prints a name per line"] = "1行に1つの名前を表示する",
        ["counts them"] = "数える",
    };

    public static IEnumerable<string> Known => Texts.Keys;

    /// <summary>The text itself where there is no other.</summary>
    public static string Of(string english) => Texts.GetValueOrDefault(english, english);

    /// <summary>Every text of a command and of those below it.</summary>
    public static void Apply(Command command)
    {
        foreach (Symbol symbol in command.Arguments.Concat<Symbol>(command.Options).Append(command))
            symbol.Description = Of(symbol.Description ?? "");
        foreach (Command below in command.Subcommands)
            Apply(below);
    }
}
