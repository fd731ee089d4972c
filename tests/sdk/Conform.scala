package meson

import java.nio.charset.StandardCharsets.UTF_8
import java.nio.file.{Files, Paths}

/** Makes the calls of a table with Meson.scala. Arguments: CASES; prints, per call, a line "said" or "refused: why". */
object Conform {
  def main(args: Array[String]): Unit = {
    val cases = Json.read(new String(Files.readAllBytes(Paths.get(args(0))), UTF_8)).asInstanceOf[Seq[Map[String, Any]]]
    cases.foreach { one =>
      try {
        call(one("call").toString, one("args").asInstanceOf[Seq[Any]].toList)
        println("said")
      } catch {
        case refused: IllegalArgumentException => println("refused: " + refused.getMessage.replace('\n', ' '))
      }
    }
  }

  private def call(name: String, args: List[Any]): Unit = (name, args) match {
    case ("progress", List(percent)) => Meson.progress(number(percent))
    case ("progress", List(percent, message: String)) => Meson.progress(number(percent), message)
    case ("message", List(text: String)) => Meson.message(text)
    case ("output", List(name: String, value)) => Meson.output(name, value)
    case ("outputs", List(values: Map[_, _])) => Meson.output(pairs(values): _*)
    case ("artifact", List(name: String, uri: String)) => Meson.artifact(name, uri)
    case ("data", List(values: Map[_, _])) => Meson.data(pairs(values): _*)
    case ("download", List(uri: String, path: String)) => Meson.download(uri, path)
    case ("upload", List(path: String, uri: String)) => Meson.upload(path, uri)
    case ("params", Nil) => Meson.output("params", Meson.params)
    case ("facts", Nil) => facts()
    case other => sys.error(s"no such call: $other")
  }

  private def facts(): Unit = Meson.output(
    "facts",
    Map(
      "run_id" -> Meson.runId,
      "workflow" -> Meson.workflow,
      "step" -> Meson.step,
      "attempt" -> Meson.attempt,
      "attempt_id" -> Meson.attemptId,
      "fence" -> Meson.fence,
      "workspace" -> Meson.workspace
    )
  )

  private def number(value: Any): Double = value.toString.toDouble

  private def pairs(values: Map[_, _]): Seq[(String, Any)] = values.toSeq.map { case (key, value) => key.toString -> value }
}
