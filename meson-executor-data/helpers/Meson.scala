package meson

import java.io.IOException
import java.math.BigInteger
import java.nio.ByteBuffer
import java.nio.channels.FileChannel
import java.nio.charset.StandardCharsets
import java.nio.file.{Files, Path, Paths, StandardCopyOption, StandardOpenOption}
import java.util.UUID

import scala.collection.immutable.ListMap
import scala.collection.mutable

/** What a step's own Scala code says to Meson, and what Meson tells it. Scala 2.12 and 2.13, no dependencies.
  *
  * {{{
  * import meson.Meson
  * val regions = Meson.params("regions").asInstanceOf[Seq[String]]
  * Meson.progress(50, "half way")
  * Meson.output("trained", regions.size)
  * Meson.artifact("model", "s3://models/model.bin")
  * }}}
  *
  * A call appends one line of JSON to the file `$MESON_EVENTS`. Where that variable is not set, the code does not run
  * under Meson: the line is then printed on standard error, and nothing else changes. What the executor would refuse is
  * an `IllegalArgumentException`.
  */
object Meson {
  import Json.demand

  // The executor's own limits (executor/src/events.rs). It counts what all processes of the attempt say, and so has the
  // last word; here each process counts what it said itself.
  private val OutputBytesMax = 64 * 1024
  private val SoftBytesMax = 16 * 1024
  private val ArtifactsMax = 1000

  private val outputBytes = mutable.Map.empty[String, Int]
  private val artifacts = mutable.Set.empty[String]

  /** Percent complete, 0 to 100. */
  def progress(percent: Double): Unit = say(ListMap("percent" -> checked(percent)))

  /** Percent complete, 0 to 100, and what is being done. */
  def progress(percent: Double, message: String): Unit =
    say(ListMap("percent" -> checked(percent), "message" -> bounded(message)))

  /** What is being done. Longer texts than 16 KiB are cut. */
  def message(text: String): Unit = say(ListMap("message" -> bounded(text)))

  /** A small value for later steps. */
  def output(name: String, value: Any): Unit = output(name -> value)

  /** Small values for later steps, by name: at most 64 KiB of JSON an attempt. The last value of a name counts. */
  def output(values: (String, Any)*): Unit = {
    demand(values.nonEmpty, "an output has a name and a value")
    values.foreach { case (name, _) => named(name, "an output") }
    val all = ListMap(values: _*)
    val sizes = all.map { case (name, value) => name -> (bytes(Json.write(ListMap(name -> value), "output")) - 1) }
    synchronized {
      // An object's braces and commas: one more than it has members.
      val total = (outputBytes.toMap ++ sizes).values.sum + 1
      demand(
        total <= OutputBytesMax,
        s"outputs would be $total bytes, more than $OutputBytesMax in all; " +
          "publish large values as an artifact and hand on its URI"
      )
      outputBytes ++= sizes
    }
    say(ListMap("output" -> all))
  }

  /** Something that this step made and others may fetch. The URI is taken as it is. */
  def artifact(name: String, uri: String): Unit = {
    named(name, "an artifact")
    demand(uri != null && uri.nonEmpty, s"artifact $name has an empty URI")
    val line = ListMap("artifact" -> ListMap("name" -> name, "uri" -> uri))
    synchronized {
      demand(
        artifacts(name) || artifacts.size < ArtifactsMax,
        s"more than $ArtifactsMax artifacts; publish a directory as one"
      )
      artifacts += name
    }
    say(line)
  }

  /** Custom data for those who listen to the run: at most 16 KiB of JSON. Each call replaces what was said before. */
  def data(values: (String, Any)*): Unit = {
    val all = ListMap(values: _*)
    val size = bytes(Json.write(all, "data"))
    demand(size <= SoftBytesMax, s"data is $size bytes, more than $SoftBytesMax")
    say(ListMap("data" -> all))
  }

  /** The step's parameters, read once: `String`, `Boolean`, `Long`, `Double`, `null`, `Vector` and `Map`. Outside Meson
    * there are none, unless `$MESON_PARAMS` names a JSON file.
    */
  lazy val params: Map[String, Any] = variable("MESON_PARAMS") match {
    case None => Map.empty
    case Some(path) =>
      Json.read(new String(Files.readAllBytes(Paths.get(path)), StandardCharsets.UTF_8)) match {
        case values: Map[_, _] => values.asInstanceOf[Map[String, Any]]
        case _ => throw new IllegalArgumentException(s"$path holds no JSON object")
      }
  }

  /** The run's temporary storage: a directory or an hdfs:// URI. Outside Meson, the working directory. */
  def workspace: String = variable("MESON_WORKSPACE").getOrElse(Paths.get("").toAbsolutePath.toString)

  /** Copies a file or directory from a file://, hdfs:// or s3:// URI, or a path within the workspace, to this machine. */
  def download(uri: String, path: String): Unit = place(uri) match {
    case None => fs("get", uri, path)
    case Some(local) => copy(local, Paths.get(path))
  }

  /** Copies a file or directory of this machine to a file://, hdfs:// or s3:// URI, or a path within the workspace. */
  def upload(path: String, uri: String): Unit = place(uri) match {
    case None => fs("put", path, uri)
    case Some(local) => copy(Paths.get(path), local)
  }

  /** The run; none outside Meson, like all facts. */
  def runId: Option[String] = variable("MESON_RUN_ID")

  /** The workflow's name. */
  def workflow: Option[String] = variable("MESON_WORKFLOW")

  /** The step within the run. */
  def step: Option[String] = variable("MESON_STEP")

  /** Which try of the step this is, from 1. */
  def attempt: Option[Int] = variable("MESON_ATTEMPT").map(_.toInt)

  /** The attempt's id, unique everywhere. */
  def attemptId: Option[String] = variable("MESON_ATTEMPT_ID")

  /** A number that only grows from attempt to attempt of a step, for stores that can refuse a late writer. */
  def fence: Option[Long] = variable("MESON_FENCE").map(_.toLong)

  /** Where a URI is on this machine; none when it is elsewhere. */
  private def place(uri: String): Option[Path] = {
    demand(uri != null && uri.nonEmpty, "the URI is empty")
    demand(!uri.split('/').contains(".."), s"`$uri`: .. leads out of its place")
    if (uri.startsWith("file:///")) Some(Paths.get(uri.stripPrefix("file://")))
    else if (uri.contains("://")) None
    else {
      val why = s"`$uri` begins with a slash, so it is not within the workspace; write file://$uri"
      demand(!uri.startsWith("/"), why)
      if (workspace.contains("://")) None else Some(Paths.get(workspace, uri))
    }
  }

  private def fs(arguments: String*): Unit = {
    val program = variable("MESON_FS").getOrElse(
      throw new IOException("MESON_FS is not set: this works in steps of Meson that are no containers")
    )
    val process = new ProcessBuilder((Seq(program, "fs") ++ arguments): _*).redirectErrorStream(true).start()
    process.getOutputStream.close()
    val said = scala.io.Source.fromInputStream(process.getInputStream, "UTF-8").mkString.trim
    if (process.waitFor() != 0) throw new IOException(if (said.isEmpty) arguments.mkString(" ") + " failed" else said)
  }

  /** Whole or not at all: under another name until all of it is there. */
  private def copy(from: Path, to: Path): Unit = {
    val folder = to.toAbsolutePath.getParent
    Files.createDirectories(folder)
    val part = folder.resolve(s".meson-${UUID.randomUUID}.part")
    def each(top: Path, act: Path => Unit, last: Boolean): Unit = {
      val paths = Files.walk(top)
      try {
        val all = paths.toArray.toVector.map { case path: Path => path }
        (if (last) all.reverse else all).foreach(act)
      } finally paths.close()
    }
    try {
      each(from, path => { Files.copy(path, part.resolve(from.relativize(path).toString)); () }, last = false)
      Files.move(part, to, StandardCopyOption.ATOMIC_MOVE)
      ()
    } finally if (Files.exists(part)) each(part, Files.delete(_), last = true)
  }

  private def variable(name: String): Option[String] = sys.env.get(name).filter(_.nonEmpty)

  private def checked(percent: Double): Double = {
    demand(percent >= 0 && percent <= 100, s"percent is $percent, not between 0 and 100")
    percent
  }

  private def named(name: String, what: String): Unit =
    demand(name != null && name.nonEmpty, s"the name of $what is empty")

  /** Nothing in a message is worth a failure of the step. */
  private def bounded(message: String): String = {
    val text = String.valueOf(message).getBytes(StandardCharsets.UTF_8)
    // Not within a letter: a byte 10xxxxxx goes on with the one before.
    var end = math.min(text.length, SoftBytesMax)
    while (end < text.length && (text(end) & 0xc0) == 0x80) end -= 1
    new String(text, 0, end, StandardCharsets.UTF_8)
  }

  private def bytes(text: String): Int = text.getBytes(StandardCharsets.UTF_8).length

  private def say(event: Map[String, Any]): Unit = {
    val line = Json.write(event, "event")
    variable("MESON_EVENTS") match {
      case None => System.err.println(s"meson (dry run): $line")
      case Some(path) =>
        // One write of the whole line at the file's end, so that lines of several threads and processes do not mix.
        val whole = ByteBuffer.wrap((line + "\n").getBytes(StandardCharsets.UTF_8))
        val events = FileChannel.open(Paths.get(path), StandardOpenOption.CREATE, StandardOpenOption.APPEND)
        try events.write(whole)
        finally events.close()
        if (whole.hasRemaining) throw new IOException(s"a line could not be written whole to $path")
    }
  }
}

/** As much of JSON as the task contract needs, so that a step needs no library. */
private[meson] object Json {

  /** Refuses in our own words alone; `require` adds some. */
  def demand(holds: Boolean, otherwise: => String): Unit =
    if (!holds) throw new IllegalArgumentException(otherwise)

  private val DepthMax = 100
  private val IntegerMin = BigInt(Long.MinValue)
  private val IntegerMax = BigInt(2).pow(64) - 1
  private val Number = java.util.regex.Pattern.compile("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][-+]?[0-9]+)?")

  /** Compact JSON. `where` names the value in errors. */
  def write(value: Any, where: String): String = {
    val out = new StringBuilder
    write(value, where, 0, out)
    out.toString
  }

  private def write(value: Any, where: String, depth: Int, out: StringBuilder): Unit = {
    // The event itself and the members of its one field are two levels more.
    demand(depth <= DepthMax + 2, s"$where is nested deeper than $DepthMax levels")
    def many(items: Iterator[Any]): Unit = {
      out += '['
      items.zipWithIndex.foreach { case (item, index) =>
        if (index > 0) out += ','
        write(item, s"$where[$index]", depth + 1, out)
      }
      out += ']'
    }
    def members(pairs: Iterator[(Any, Any)]): Unit = {
      out += '{'
      pairs.zipWithIndex.foreach {
        case ((key: String, item), index) =>
          if (index > 0) out += ','
          quote(key, s"a key of $where", out)
          out += ':'
          write(item, s"$where.$key", depth + 1, out)
        case ((key, _), _) => throw new IllegalArgumentException(s"$where has the key $key; keys are text")
      }
      out += '}'
    }
    value match {
      case null | None => out ++= "null"
      case Some(item) => write(item, where, depth, out)
      case text: String => quote(text, where, out)
      case letter: Char => quote(letter.toString, where, out)
      case flag: Boolean => out ++= flag.toString
      case _: Byte | _: Short | _: Int | _: Long => out ++= value.toString
      case number: BigInt => out ++= integer(number, where)
      case number: BigInteger => out ++= integer(BigInt(number), where)
      case number: Float => out ++= finite(number.toDouble, number.toString, where)
      case number: Double => out ++= finite(number, number.toString, where)
      case map: scala.collection.Map[_, _] => members(map.iterator)
      case map: java.util.Map[_, _] => members(pairsOf(map))
      case array: Array[_] => many(array.iterator)
      case items: Iterable[_] => many(items.iterator)
      case items: java.util.Collection[_] => many(items.toArray.iterator)
      case other =>
        throw new IllegalArgumentException(s"$where is of type ${other.getClass.getName}, which is not JSON")
    }
  }

  private def pairsOf(map: java.util.Map[_, _]): Iterator[(Any, Any)] =
    map.entrySet.toArray.iterator.map { entry =>
      val pair = entry.asInstanceOf[java.util.Map.Entry[Any, Any]]
      (pair.getKey, pair.getValue)
    }

  private def integer(number: BigInt, where: String): String = {
    demand(number >= IntegerMin && number <= IntegerMax, s"$where does not fit into 64 bits; hand it on as text")
    number.toString
  }

  private def finite(number: Double, text: String, where: String): String = {
    demand(!number.isNaN && !number.isInfinite, s"$where is $number, which JSON cannot say; use None")
    // 40.0 is what a caller of progress(40) sees as 40.
    if (text.endsWith(".0")) text.dropRight(2) else text
  }

  private def quote(text: String, where: String, out: StringBuilder): Unit = {
    val encoder = StandardCharsets.UTF_8.newEncoder
    demand(encoder.canEncode(text), s"$where is not valid Unicode")
    out += '"'
    text.foreach {
      case '"' => out ++= "\\\""
      case '\\' => out ++= "\\\\"
      case '\n' => out ++= "\\n"
      case '\r' => out ++= "\\r"
      case '\t' => out ++= "\\t"
      case control if control < ' ' => out ++= f"\\u${control.toInt}%04x"
      case letter => out += letter
    }
    out += '"'
  }

  /** The value that a text of JSON says. */
  def read(text: String): Any = {
    val reader = new Reader(text)
    val value = reader.value(0)
    reader.end()
    value
  }

  private final class Reader(text: String) {
    private var at = 0

    def value(depth: Int): Any = {
      if (depth > DepthMax * 2) fail("is nested too deeply")
      skipSpace()
      peek match {
        case '{' => members(depth)
        case '[' => many(depth)
        case '"' => quoted()
        case 't' => word("true", true)
        case 'f' => word("false", false)
        case 'n' => word("null", null)
        case _ => number()
      }
    }

    def end(): Unit = {
      skipSpace()
      if (at < text.length) fail("goes on after its end")
    }

    private def members(depth: Int): Map[String, Any] = {
      val found = mutable.ArrayBuffer.empty[(String, Any)]
      listed('}') {
        val key = quoted()
        skipSpace()
        take(':')
        found += key -> value(depth + 1)
      }
      ListMap(found.toSeq: _*)
    }

    private def many(depth: Int): Vector[Any] = {
      val found = Vector.newBuilder[Any]
      listed(']')(found += value(depth + 1))
      found.result()
    }

    private def listed(closing: Char)(item: => Unit): Unit = {
      at += 1
      skipSpace()
      if (peek == closing) at += 1
      else {
        var more = true
        while (more) {
          skipSpace()
          item
          skipSpace()
          more = peek == ','
          if (more) at += 1 else take(closing)
        }
      }
    }

    private def quoted(): String = {
      take('"')
      val out = new StringBuilder
      while (peek != '"') {
        val letter = next()
        if (letter == '\\') out += escaped() else if (letter < ' ') fail("has a control character") else out += letter
      }
      at += 1
      out.toString
    }

    private def escaped(): Char = next() match {
      case 'n' => '\n'
      case 'r' => '\r'
      case 't' => '\t'
      case 'b' => '\b'
      case 'f' => '\f'
      case 'u' =>
        val digits = Seq.fill(4)(Character.digit(next(), 16))
        if (digits.contains(-1)) fail("has a wrong \\u")
        digits.foldLeft(0)(_ * 16 + _).toChar
      case same @ ('"' | '\\' | '/') => same
      case _ => fail("has a wrong escape")
    }

    private def number(): Any = {
      val matcher = Number.matcher(text).region(at, text.length)
      if (!matcher.lookingAt()) fail("is no JSON")
      val digits = matcher.group
      at += digits.length
      if (digits.exists(".eE".contains(_))) digits.toDouble
      else {
        val whole = BigInt(digits)
        if (whole.isValidLong) whole.toLong else whole
      }
    }

    private def word(word: String, value: Any): Any =
      if (text.startsWith(word, at)) { at += word.length; value }
      else fail("is no JSON")

    private def skipSpace(): Unit = while (at < text.length && " \t\r\n".indexOf(text(at)) >= 0) at += 1

    private def peek: Char = if (at < text.length) text(at) else fail("ends too early")

    private def next(): Char = { val letter = peek; at += 1; letter }

    private def take(wanted: Char): Unit = if (next() != wanted) fail(s"lacks '$wanted'")

    private def fail(what: String): Nothing = throw new IllegalArgumentException(s"the JSON $what, at character $at")
  }
}
