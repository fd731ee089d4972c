// selectModel: where the paths meet. For each region the regional model or the global one, whichever errs less on ratings it
// has not seen; and what that choice comes to for all users together.
//
// The figures come as JSON, which json4s reads: it is among the jars of Spark, as the compiler is.

import meson.Meson
import org.json4s._
import org.json4s.jackson.JsonMethods

case class Figures(rmse: Double, disagreement: Double, ratings: Long)
case class Choice(model: String, best: Figures, global: Figures, regional: Option[Figures])

object SelectModel {
  private implicit val formats: Formats = DefaultFormats

  /** The global model where there is no other, and where they are equal. */
  def choose(global: Map[String, Figures], regional: Map[String, Figures]): Map[String, Choice] =
    global.map { case (region, everywhere) =>
      val own = regional.get(region)
      require(own.forall(_.ratings == everywhere.ratings), s"the models of $region were measured on different ratings")
      val winner = own.filter(_.rmse < everywhere.rmse)
      region -> Choice(winner.fold("global")(_ => region), winner.getOrElse(everywhere), everywhere, own)
    }

  /** A root mean square of all regions from those of each. */
  def together(chosen: Iterable[Choice], figure: Figures => Double): Double = {
    val squares = chosen.map(each => math.pow(figure(each.best), 2) * each.global.ratings).sum
    math.sqrt(squares / chosen.map(_.global.ratings).sum)
  }

  def said(choice: Choice): Map[String, Any] = Map(
    "model" -> choice.model,
    "rmse" -> choice.best.rmse,
    "disagreement" -> choice.best.disagreement,
    "ratings" -> choice.global.ratings,
    "rmse_global" -> choice.global.rmse,
    "rmse_regional" -> choice.regional.map(_.rmse)
  )

  def main(args: Array[String]): Unit = {
    val given = args.map(_.stripPrefix("--").split("=", 2)).collect { case Array(name, value) => name -> value }.toMap
    def figures(name: String): Map[String, Figures] = {
      val text = given.getOrElse(name, sys.error(s"missing argument: --$name="))
      JsonMethods.parse(text).extract[Map[String, Figures]]
    }

    val chosen = choose(figures("global"), figures("regional"))
    val regional = chosen.collect { case (region, choice) if choice.model == region => region }.toSeq.sorted
    val winners = if (regional.isEmpty) "no region" else regional.mkString(", ")
    Meson.progress(100, s"regional models win in $winners")
    Meson.output(
      "chosen" -> chosen.map { case (region, choice) => region -> said(choice) },
      "rmse" -> together(chosen.values, _.rmse),
      "disagreement" -> together(chosen.values, _.disagreement)
    )
  }
}
