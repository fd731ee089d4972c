// validateModel: is what was selected fit to be published? It has to err less than biases alone, and models of two random
// halves of the data have to agree within a bound. Fails when the last pass allowed is not stable either. The biases are those
// of all the cohort, also where a region's own model was selected.

import java.util.Locale

import meson.Meson

object ValidateModel {
  private def stars(value: Double): String = "%.4f".formatLocal(Locale.ROOT, value)

  /** What speaks against publishing. Figures that are no numbers are objections. */
  def objections(rmse: Double, baseline: Double, disagreement: Double, bound: Double): Seq[String] = Seq(
    (rmse < baseline) -> s"rmse ${stars(rmse)} is not below the ${stars(baseline)} of biases alone",
    (disagreement <= bound) -> s"the models of two halves are ${stars(disagreement)} stars apart, more than $bound"
  ).collect { case (false, objection) => objection }

  def main(args: Array[String]): Unit = {
    val given = args.map(_.stripPrefix("--").split("=", 2)).collect { case Array(name, value) => name -> value }.toMap
    def number(name: String): Double = given.getOrElse(name, sys.error(s"missing argument: --$name=")).toDouble
    val (pass, passes) = (number("pass").toInt, number("max-passes").toInt)

    val found = objections(number("rmse"), number("baseline"), number("disagreement"), number("bound"))
    val summary = if (found.isEmpty) "stable" else found.mkString("; ")
    Meson.progress(100, summary)
    if (found.nonEmpty && pass >= passes) {
      Console.err.println(s"not stable after $pass passes: $summary")
      sys.exit(1)
    }
    Meson.output("stable" -> found.isEmpty, "objections" -> found)
  }
}
