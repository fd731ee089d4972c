package meson

import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Path}

/** Tests of Meson.scala on real files: Scala's own values, the reader, threads, and what happens outside Meson. What each
  * call says is tests/sdk/cases.json. Arguments: java, class path; with them it starts itself under other environments.
  */
object TestMeson {
  private def check(what: String, is: Any, expected: Any): Unit =
    if (is != expected) sys.error(s"$what\n  is       $is\n  expected $expected")

  private def refused(what: String, part: String)(call: => Any): Unit = {
    val said =
      try { call; "no error" }
      catch { case refused: IllegalArgumentException => refused.getMessage }
    if (!said.contains(part)) sys.error(s"$what: $said, expected $part")
  }

  def main(args: Array[String]): Unit = args.toList match {
    case List("dry") =>
      Meson.progress(5, "é")
      check("facts", List(Meson.runId, Meson.step, Meson.attempt, Meson.fence), List(None, None, None, None))
      check("parameters", Meson.params, Map.empty)
      check("workspace", Meson.workspace, sys.props("user.dir"))
      files()
    case List("write", letter) =>
      threads(4)(who => (1 to 50).foreach(number => Meson.data("who" -> who, "padding" -> letter * (number * 79 * who))))
    case List("outputs") =>
      // {"a":"…"} has 8 bytes beside the text.
      Meson.output("a", "y" * (64 * 1024 - 8))
      refused("a byte more", "65537 bytes")(Meson.output("a", "y" * (64 * 1024 - 7)))
      refused("no output", "a name and a value")(Meson.output())
      refused("not a number", "not between")(Meson.progress(Double.NaN))
      (1 to 1000).foreach(number => Meson.artifact(s"a$number", "s3://x"))
      refused("too many", "more than 1000")(Meson.artifact("more", "s3://x"))
    case List(java, path) =>
      values()
      reading()
      val folder = Files.createTempDirectory("meson-test-")
      try processes(List(java, "-Dfile.encoding=UTF-8", "-cp", path, "meson.TestMeson"), folder.resolve("events.jsonl"))
      finally {
        Files.list(folder).toArray.foreach(file => Files.delete(file.asInstanceOf[Path]))
        Files.delete(folder)
      }
      println("Meson.scala: all well")
    case _ => sys.error("usage: meson.TestMeson JAVA CLASSPATH")
  }

  /** The workspace is the working directory here. */
  private def files(): Unit = {
    val folder = Files.createTempDirectory("meson-test-")
    val (source, base) = (Files.createDirectories(folder.resolve("all/sub")), s"file://$folder/w")
    Files.write(source.resolve("x y"), "one".getBytes(UTF_8))
    try {
      Meson.upload(folder.resolve("all").toString, s"$base/deep/it's %2e%2e")
      Meson.download(s"$base/deep/it's %2e%2e/sub/x y", folder.resolve("back").toString)
      Meson.upload(folder.resolve("back").toString, folder.getFileName.toString + ".tmp/again")
      val again = java.nio.file.Paths.get(Meson.workspace, folder.getFileName.toString + ".tmp")
      try check("there and back", new String(Files.readAllBytes(again.resolve("again")), UTF_8), "one")
      finally remove(again)
      val half = Files.list(folder.resolve("w")).toArray.map(_.toString).toList
      check("nothing half", half, List(folder.resolve("w/deep").toString))
      check("no storage", scala.util.Try(Meson.download("hdfs://nn/x", "x")).isFailure, true)
    } finally remove(folder)
  }

  private def remove(top: Path): Unit =
    Files.walk(top).toArray.reverse.foreach(path => Files.delete(path.asInstanceOf[Path]))

  private def values(): Unit = {
    val cases = List[(Any, String)](
      None -> "null",
      Some(List[Any](1, 2L, 3.5f, 0.1f, 'c')) -> "[1,2,3.5,0.1,\"c\"]",
      Array(1, 2) -> "[1,2]",
      Vector() -> "[]",
      Map("a" -> Set(true)) -> "{\"a\":[true]}",
      java.util.Arrays.asList("x", null) -> "[\"x\",null]",
      java.util.Collections.singletonMap("k", 1) -> "{\"k\":1}",
      (BigInt(2).pow(64) - 1) -> "18446744073709551615",
      -0.25 -> "-0.25"
    )
    cases.foreach { case (value, json) => check(s"$value", Json.write(value, "x"), json) }
    refused("too large", "64 bits")(Json.write(BigInt(2).pow(64), "x"))
    refused("not finite", "x[0] is NaN")(Json.write(List(Double.NaN), "x"))
    refused("a key", "keys are text")(Json.write(Map(1 -> 2), "x"))
    refused("a class", "scala.Tuple2")(Json.write((1, 2), "x"))
    refused("half a letter", "not valid Unicode")(Json.write("\ud800", "x"))
  }

  private def reading(): Unit = {
    // Scala would take the escape out of a text in three quotes.
    val letter = "\\" + "u00e9"
    val text = s""" {"a" : [1, -2.5e3, true, null, "é$letter\\n\\"\\\\\\/"], "b":{}, "c":[ ], "d": 9223372036854775808} """
    val value = Map[String, Any](
      "a" -> Vector[Any](1L, -2500.0, true, null, "éé\n\"\\/"),
      "b" -> Map(),
      "c" -> Vector(),
      "d" -> BigInt("9223372036854775808")
    )
    check("read", Json.read(text), value)
    for (bad <- List("", "{", "[1,]", "[1 2]", "{\"a\"}", "01", "1 2", "nul", "\"a", "\"\\x\"", "\"\n\"", "[" * 10000))
      refused(bad.take(20), "the JSON")(Json.read(bad))
  }

  private def processes(command: List[String], events: Path): Unit = {
    val heard = started(command :+ "dry", None)
    check("a dry run", heard.waitFor, 0)
    check("what it says", text(heard.getErrorStream), "meson (dry run): {\"percent\":5,\"message\":\"é\"}\n")

    val writers = List("a", "b", "c").map(letter => started(command ++ List("write", letter), Some(events)))
    writers.foreach(writer => check("a writer", writer.waitFor -> text(writer.getErrorStream), 0 -> ""))
    val lines = new String(Files.readAllBytes(events), UTF_8).linesIterator.toList
    check("lines of all writers", lines.size, 3 * 4 * 50)
    val whole = for (letter <- List("a", "b", "c"); who <- 1 to 4; number <- 1 to 50)
      yield Json.write(Map("data" -> Map[String, Any]("who" -> who, "padding" -> letter * (number * 79 * who))), "line")
    check("lines that are whole", lines.sorted == whole.sorted, true)

    val outputs = started(command :+ "outputs", Some(events))
    check("limits", outputs.waitFor -> text(outputs.getErrorStream), 0 -> "")
  }

  private def started(command: List[String], events: Option[Path]): Process = {
    val builder = new ProcessBuilder(command: _*)
    builder.environment.keySet.removeIf(_.startsWith("MESON_"))
    events.foreach(path => builder.environment.put("MESON_EVENTS", path.toString))
    builder.start()
  }

  private def text(stream: java.io.InputStream): String = scala.io.Source.fromInputStream(stream, "UTF-8").mkString

  private def threads(count: Int)(work: Int => Unit): Unit = {
    val all = (1 to count).map(who => new Thread(new Runnable { def run(): Unit = work(who) }))
    all.foreach(_.start())
    all.foreach(_.join())
  }
}
